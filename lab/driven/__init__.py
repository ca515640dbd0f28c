"""Overlays that drivers run (`lab.contracts.driver`): the overlay of the lab over them, and what drivers share.

`overlay.py` is the one overlay of the lab over all drivers; `lines.py` a driver that is a program; `kind.py` makes the
kind of a driver, `kit.py` has what drivers written in Python have in common.
"""
