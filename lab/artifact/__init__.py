"""Artifacts for the artifact evaluation of a paper: written from an experiment, and replayed.

    claims.py    claimed numbers, with the command that makes each, its cost and its tolerance
    sources.py   claims of an experiment that was run, and of the project's own benchmarks
    write.py     the folder: claims, README, container recipe, CITATION.cff, RO-Crate, data, code
    texts.py     the texts of these files
    check.py     the replay: whether every claim is reproduced

Heavy modules are imported only when they are used.
"""
