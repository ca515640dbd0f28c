"""The tunnel's work on whole rows of packets as machine code: an optional extension in C, for the usual frames alone.

    rows.c         cuts and seals, opens and joins
    building.py    compiles it (`lab compile`), next to its source
    loading.py     finds a build of exactly this source, and declares its functions
    row_calls.py   copies keys, counters and routes for it, and carries its results back to the tunnel

The Python in `overlay/datapath` is the reference, does everything that is unusual, and everything without a build.
"""
