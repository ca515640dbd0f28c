"""Experiments: a file says what is asked, of what, how precisely and what is expected; the rest is done from it.

    description.py   the experiment file: read, checked, digested
    design.py        factors -> assignments: a grid, or Sobol's sequence
    stopping.py      when there are enough seeds
    registration.py  what was written down before the first run, and every later change of it
    run.py           rounds of a sweep until it is enough
    results.py       runs -> estimates, hypotheses, sensitivities
    figures.py       the figures, for a page or for a column of a paper
    paper.py         figures, LaTeX table, data and sentence for a paper
    page.py          the result page

Runs, their places and their statistics are those of `lab.sweep`. Nothing heavy is imported until it is used.
"""
