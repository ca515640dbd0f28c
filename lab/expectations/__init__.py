"""The conditions of `expect`, one file each: its model, what is wrong with it in a scenario, how it is judged.

Each file exports its condition as `KIND` (`lab.kinds.checkers`); another package names one in the entry points
`overlay_lab.checkers`. Files that begin with `_` are what several conditions share.
"""
