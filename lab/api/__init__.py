"""The public Python API: what `import lab` offers (docs/api.md).

tables.py   typed records as sequences, and as data frames
played.py   a stored run: its tables, verdict, convergence, outages
play.py     plays a scenario and returns its run
"""
