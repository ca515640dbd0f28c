"""`python -m benchmarks.alone '{"play": "split", "peers": 1000, ...}'`: one world in this process, as JSON on stdout.

What `benchmarks.sim` starts for each figure, so that peak memory is that of this world alone. The cores are the
compiled ones where these are built and not switched off (`lab.compiled.parts.SWITCH`); the outcome says which.
"""

import sys

from lab.compiled.loading import use

if __name__ == "__main__":
    compiled = use()

    import msgspec

    from benchmarks.worlds import Play, perform
    from lab.sim.garbage import rarely_collected

    with rarely_collected():
        outcome = perform(msgspec.json.decode(sys.argv[1], type=Play))
    sys.stdout.write(msgspec.json.encode(msgspec.structs.replace(outcome, compiled=compiled)).decode() + "\n")
