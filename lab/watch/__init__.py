"""`lab watch`: a standing lab looked at while it runs, on a page or in the terminal, and changed by hand.

    standing.py  the lab: its control socket and its history file
    tail.py      a history that grows, read from any place in it
    forms.py     what each verb of the registry asks for, as plain data
    present.py   the lab as its history says that it is now, for the terminal
    terminal.py  the terminal's view (`--tui`)

All of it runs in the command's own process, outside of the lab: whatever becomes of it, the lab does not notice.
"""
