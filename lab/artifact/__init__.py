"""Artifacts: what an evaluation of a paper's artifact asks for, written from an experiment, and replayed.

    claims.py    numbers that are claimed, with the command that makes each, its cost and its tolerance
    sources.py   claims of an experiment that was run, and of the project's own benchmarks
    write.py     the folder: claims, README, container recipe, CITATION.cff, RO-Crate, data, code
    texts.py     the words of these files
    check.py     the replay: every claim reproduced, or not

Nothing heavy is imported until it is used.
"""
