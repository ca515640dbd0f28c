"""`lab league`: the same questions put to many overlays, and a table of what containers saw.

measures.py   one run's history -> numbers
plan.py       which runs, what each is known by, and how long they take
play.py       plays what is not done yet, and keeps each run as it ends
results.py    runs -> cells with intervals, and ranks where intervals allow
page.py       the page to publish
papers.py     the table for a paper, and the raw data
document.py   docs/league.md

The questions are `lab.trials.questions`'s. Knows no overlay by name.
"""
