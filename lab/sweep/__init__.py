"""Many runs of one scenario: every combination of parameter values, with many seeds, and their statistics.

    grid.py        which runs: `--set` and `--seeds`, and scenario files with values put in
    measure.py     one run's history -> one `Point` of numbers
    ledger.py      the finished points on disk, so that a sweep can resume
    play.py        one run, in a worker
    pools.py       where runs are played: processes of this machine, a Dask cluster
    run.py         the sweep as a whole
    columns.py     a point's rows: columns of one type each, with their units
    table.py       points -> one CSV (or Parquet) table, and back
    statistics.py  estimates with confidence bands, tests; censored times
    compare.py     two sweeps: do they differ
    differences.py one comparison, and the sentence about it
    fidelity.py    the simulator compared with real packets
    groups.py      points by assignment, and metrics as samples
    figures.py     distributions, scaling curves, traffic
    page.py        the page

Heavy modules are imported only when they are used.
"""
