"""Search for fault schedules that the overlay does not survive, and minimize them.

    schedule.py  a random schedule of faults from a seed
    case.py      a scenario with a schedule in it, as a file
    smaller.py   smaller cases of it
    shrink.py    delta debugging: the smallest case that still fails
    search.py    many cases at once, until one fails

A case injects faults for a while, then heals all of them; everything must agree again by a deadline. It is an ordinary
scenario file, so a counterexample can be played, drawn and kept as a test.
"""
