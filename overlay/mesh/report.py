"""The mesh's state as plain data for the control API, `weave status` and `weave report`. Changes nothing."""

from overlay.mesh.connections import Connection
from overlay.mesh.dialler import Target
from overlay.mesh.mesh import Mesh

# Not every JSON reader keeps 64-bit integers exact, so digests and connection ids are hex strings.


def report(mesh: Mesh, now: int) -> dict[str, object]:
    """The state of a mesh, JSON-able. Times are nanoseconds from `now` on, ages are nanoseconds."""
    return {
        "name": mesh.config.name,
        "nickname": mesh.config.nickname,
        "uid": mesh.uid,
        "port": mesh.config.port,
        "discovery": mesh.config.discovery,
        "conn_limit": mesh.config.conn_limit,
        "reachable": list(mesh.reachable),
        "topology_digest": f"{mesh.topology_digest:016x}",
        "sent_messages": mesh.sent_messages,
        "terminations": mesh.connections.terminations,
        "computed": mesh.connections.proofs.computed_pakes if mesh.connections.proofs is not None else 0,
        "targets": [_target(mesh, target, now) for _, target in sorted(mesh.dialler.targets.items())],
        "connections": [_connection(connection, now) for _, connection in sorted(mesh.connections.all.items())],
        "peers": _peers(mesh),
        "calling": [str(address) for address in mesh.beacons.called],
        "channel_conflicts": [
            {"peer": peer, "nickname": mesh.topology.nickname(peer), "channel": channel, "error": text}
            for (peer, channel), text in sorted(mesh.gossip.conflicts.items())
        ],
        "name_conflict": mesh.topology.name_conflict(now),
        "encrypted": mesh.keyring is not None,
        "trusted_subnets": list(mesh.config.trusted_subnets),
        "refused": [
            {
                "address": refusal.address,
                "peer": refusal.name,
                "reason": refusal.text,
                "count": refusal.count,
                "age": now - refusal.at,
            }
            for refusal in mesh.trust.shown(now)
        ],
    }


def _target(mesh: Mesh, target: Target, now: int) -> dict[str, object]:
    due = mesh.dialler.next_attempt(target)
    return {
        "address": str(target.address),
        "explicit": target.explicit,
        "state": "connected" if target.peer in mesh.connections.established else target.state.value,
        "peer": target.peer,
        "attempts": target.attempts,
        "next_attempt": None if due is None else max(0, due - now),
        "reason": target.reason,
    }


def _connection(connection: Connection, now: int) -> dict[str, object]:
    return {
        "peer": connection.peer,
        "nickname": connection.nickname,
        "address": str(connection.control),
        "outbound": connection.outbound,
        "state": connection.state.value,
        "encrypted": connection.beat_keys is not None,
        "data_encrypted": connection.data_keys is not None,
        "heartbeat_age": now - connection.heard_at,
        "udp_heartbeat_age": now - connection.heard_udp_at,
        "udp_heard_us_age": now - connection.heard_us_at,
        "beat_interval": connection.interval,
        "age": now - connection.opened_at,
        "clock_offset": connection.clock[0] if connection.clock is not None else None,
        "clock_error": connection.clock[1] if connection.clock is not None else None,
    }


def _peers(mesh: Mesh) -> list[dict[str, object]]:
    return [
        {
            "name": name,
            "nickname": record.nickname,
            "uid": record.uid,
            "version": record.version,
            "gone": record.gone,
            "reachable": name in mesh.routes.tree,
            "links": [
                {
                    "peer": link.peer,
                    "nickname": mesh.topology.nickname(link.peer),
                    "address": link.address,
                    "outbound": link.outbound,
                    "established": link.established,
                }
                for link in record.links
            ],
        }
        for name, record in sorted(mesh.topology.records.items())
    ]
