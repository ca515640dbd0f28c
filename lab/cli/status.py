"""State of a running lab beyond power and addresses: peers, connections, containers. For `lab inspect`."""

from typing import Any

from lab.runner.stage import Stage


def status(stage: Stage, *, peers: bool = True) -> dict[str, Any]:
    """Per host the last view of its peer (unless not asked for), and where each container is."""
    hosts = {}
    for name in stage.scenario.hosts if peers else ():
        view = stage.live.tracker.world.views.get(name)
        hosts[name] = {
            "peer": view.peer if view else "",
            "connections": list(view.neighbours) if view else [],
            "reachable": view.reachable if view else 0,
            "ring_share": view.ring_share if view else 0.0,
        }
    containers = {
        name: {"host": replica.host, "service": replica.service, "address": stage.overlay.address_of(name)}
        for name, replica in stage.live.running.items()
    }
    return {"peers": hosts, "containers": containers}
