"""Trials of overlays: short scenarios that any overlay must get through, fitted to how its addresses come.

`trial.py` says what a trial is, `conformance.py` has those of `lab overlay check`, `playing.py` plays them, `page.py`
is the page of their results. Knows no overlay by name.
"""
