"""Experiments: a file declares the question, the factors, the precision and the hypotheses; the lab does the rest.

    description.py   the experiment file: read, checked, digested
    design.py        factors -> assignments: a grid, or Sobol's sequence
    stopping.py      when there are enough seeds
    registration.py  the pre-registration before the first run, and every later change of it
    run.py           rounds of a sweep until the precision is reached
    results.py       runs -> estimates, hypotheses, sensitivities
    figures.py       the figures, for a page or for a column of a paper
    paper.py         figures, LaTeX table, data and sentence for a paper
    page.py          the result page

`lab.sweep` plays the runs, stores them and computes the statistics. Heavy modules are imported only when they are used.
"""
