"""Search for fault schedules that the overlay does not survive, and make what is found small.

    schedule.py  a random schedule of faults from a seed
    case.py      a scenario with a schedule in it, as a file; smaller ones of it
    shrink.py    delta debugging: the smallest case that still fails
    search.py    many cases at once, until one fails

A case breaks things for a while, then all heals, and everything must agree again by a deadline. It is an ordinary
scenario file: what is found can be played, drawn and kept as a test.
"""
