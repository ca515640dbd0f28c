"""`python -m benchmarks [NAME…]`: run the benchmarks, print their tables, write `reports/bench/<name>.json`.

They write `docs/performance.md` as well; `python -m benchmarks page` writes only that.
"""

import sys
from collections.abc import Callable, Sequence

from benchmarks import (
    bpf,
    bringup,
    cluster,
    datapath,
    dind,
    docker_run,
    explore,
    heal,
    links,
    mesh,
    names,
    page,
    path,
    policy,
    report,
    room,
    scale,
    sim,
    sim_seeds,
    spread,
    tcp,
    tunnel,
    versions,
)
from benchmarks.rows import Row, publish
from lab.errors import LabError

BENCHES: dict[str, Callable[[], list[Row]]] = {"bringup": bringup.run, "datapath": datapath.run, "heal": heal.run}
BY_NAME: dict[str, Callable[[], list[Row]]] = {
    "bpf": bpf.run,
    "cluster": cluster.run,
    "dind": dind.run,
    "docker_run": docker_run.run,
    "explore": explore.run,
    "links": links.run,
    "mesh": mesh.run,
    "names": names.run,
    "path": path.run,
    "policy": policy.run,
    "report": report.run,
    "room": room.run,
    "scale": scale.run,
    "sim": sim.run,
    "sim_seeds": sim_seeds.run,
    "spread": spread.run,
    "tcp": tcp.run,
    "tunnel": tunnel.run,
    "versions": versions.run,
}
"""Those that run only when they are named (`make bench-docker`, `make bench-path`, `make bench-sim`,
`make bench-explore`; `mesh` takes minutes)."""


def main(names: Sequence[str]) -> int:
    """Run these benchmarks, when none is named those of `BENCHES`; 2 for unknown names and what cannot be measured."""
    benches = BENCHES | BY_NAME
    unknown = [name for name in names if name not in {*benches, "page"}]
    if unknown:
        print(f"no benchmark named {', '.join(unknown)}; there are: {', '.join(benches)}, page", file=sys.stderr)
        return 2
    try:
        for name in names or BENCHES:
            if name != "page":
                path = publish(name, benches[name]())
                print(f"-> {path}\n", flush=True)
            page.write(list(benches))
    except LabError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
