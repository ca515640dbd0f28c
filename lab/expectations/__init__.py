"""The conditions of `expect`, one file each: its model, its validation in a scenario, its judgement.

Each file exports its condition as `KIND` (`lab.kinds.checkers`); another package declares one in the entry points
`overlay_lab.checkers`. Files that begin with `_` are shared by several conditions.
"""
