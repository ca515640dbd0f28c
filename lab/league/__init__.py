"""`lab league`: the same questions put to many overlays, and a table of what containers saw.

columns.py    what is measured, with units
measures.py   one run's history -> numbers of each repeat
plan.py       which labs, how each repeat is known, and how long they take
play.py       plays what is not done yet, and keeps each lab's repeats as it ends
whole.py      one league from its ledger: what is there, what is left, and its cells
again.py      a second league over a part of the cells, and whether the two agree
results.py    runs -> cells with intervals, and ranks where intervals allow
page.py       the page to publish
papers.py     the table for a paper, and the raw data
document.py   docs/league.md

The questions are `lab.trials.questions`'s. Knows no overlay by name.
"""
