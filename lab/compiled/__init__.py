"""The pure cores as machine code: the same Python, compiled by mypyc, for simulations that take minutes.

    parts.py     which modules, and the hash of all that the result depends on
    loading.py   lets imports take them, where they were built from exactly these sources
    building.py  builds them into the user's cache

What they do is the same to the byte (`tests/sim/test_compiled_cores.py`); nothing needs them. Daemons on hosts never
take them: what those wait for is the kernel.
"""
