"""The public Python API: the content of `import lab` (docs/api.md).

tables.py   typed records as sequences, and as data frames played.py   a stored run: its tables, verdict, convergence,
outages play.py     plays a scenario and returns its run live.py     a lab that is controlled step by step verbs.py
the verbs of a timeline as its methods
"""
