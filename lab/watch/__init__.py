"""`lab watch`: shows a standing lab while it runs, on a page or in the terminal, and lets users change it by hand.

    standing.py  the lab: its control socket and its history file
    tail.py      a growing history, read from any offset
    forms.py     the arguments of each verb of the registry, as plain data
    present.py   the current state of the lab according to its history, for the terminal
    terminal.py  the terminal's view (`--tui`)

All of it runs in the command's own process, outside the lab, so that its failures do not affect the lab.
"""
