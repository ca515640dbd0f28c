"""Trials of overlays: short scenarios that every overlay must pass, adapted to how it assigns addresses.

`trial.py` defines a trial, `conformance.py` has those of `lab overlay check`, `playing.py` plays them, `page.py` is the
page of their results. Knows no overlay by name.
"""
