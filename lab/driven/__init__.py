"""Overlays that drivers run (`lab.contracts.driver`): the lab's overlay on top of them, and code that drivers share.

`overlay.py` is the one overlay of the lab for all drivers; `lines.py` a driver that is a program; `kind.py` creates the
kind of a driver; `kit.py` has code that drivers in Python share.
"""
