"""The verbs of a timeline: one file is one verb, all of it.

A file has the model of what is said to the verb, what is wrong with that in a scenario, its plan (what is done, or the
fault with its injector and healer), what it needs of a backend, how its fault is drawn, how the explorer draws it at
random and makes it plainer, and its paragraph of the reference. `lab.kinds.verbs` says which of these a verb may
leave out. Each file exports its verb as `KIND`; another package names one in the entry points `overlay_lab.verbs`.
Files that begin with `_` are what several verbs share.
"""

ORDER = (
    *("launch", "connect", "forget", "run", "attach", "detach", "policy", "exec", "partition", "heal"),
    *("link", "trace", "flap", "block", "mtu", "kill", "restart", "churn", "slow_disk", "clock"),
    *("scale", "move", "remove", "reset", "rmpeer", "expect", "wait"),
)
"""The order of a lab's life, in which schema, documentation and messages list verbs; all others follow by name."""

NO_COMMANDS = ("capture", "exec", "wait")
"""Verbs that only watch or wait: `lab` has no command of them, for nothing happens in a running lab meanwhile. (`lab
capture` is a command by itself, which writes where it is told.)"""
