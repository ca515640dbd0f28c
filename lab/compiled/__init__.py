"""The pure cores as machine code: the same Python, compiled by mypyc, for simulations that take minutes.

    parts.py     which modules, and the hash of all inputs of a build
    loading.py   lets imports use them, if they were built from exactly these sources
    building.py  builds them into the user's cache

Results are the same to the byte (`tests/sim/test_compiled_cores.py`); nothing requires them. Daemons on hosts never use
them, because their time is spent in the kernel.
"""
