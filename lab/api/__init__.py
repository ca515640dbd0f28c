"""The public Python API: what `import lab` offers (docs/api.md).

tables.py   typed records as sequences, and as data frames
played.py   a stored run: its tables, verdict, convergence, outages
play.py     plays a scenario and returns its run
live.py     a lab that is told step by step what to do
verbs.py    the verbs of a timeline as its methods
"""
