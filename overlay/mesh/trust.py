"""What to trust outside of a session: beacons, trusted subnets, refusals to be shown. Knows no handshake.

Without a password everything is trusted. A few refusals are kept for a short time, so that `status connections` can
show the problem on both sides; the log reports each source once.
"""

from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from overlay.clean import clean
from overlay.config import Config, PeerName
from overlay.effects import Effect, Log
from overlay.env import SECOND
from overlay.mesh.connections import Connection, Ending
from overlay.mesh.keyring import Keyring
from overlay.mesh.liveness import authentic, authenticated
from overlay.shares import source
from overlay.wire.envelopes import Beacon, Reason
from overlay.wire.topology import PeerRecord

SHOWN: Final = 32
"""Limit of refused sources that are shown."""
SHOWN_FOR: Final = 300 * SECOND
WARNED: Final = 256
"""Limit of sources about which the log has a warning."""
MAX_TEXT: Final = 200
REMEMBER_PAUSE: Final = 10 * SECOND
"""Minimum time between writes of other peers' public keys."""


class RefusedSource(Struct):
    """A source that connected and was refused, or refused us."""

    address: str
    name: str
    text: str
    count: int
    at: int


class Trust:
    """The trust decisions of one peer."""

    def __init__(self, config: Config, ring: Keyring | None) -> None:
        self._ring = ring
        self._subnets = [ip_network(subnet) for subnet in config.trusted_subnets]
        self.refusals: dict[str, RefusedSource] = {}
        """Refused incoming connections, by host."""
        self._warned: dict[str, None] = {}
        self._beacons_sent = 0
        self._beacons_heard: dict[PeerName, tuple[int, int]] = {}
        self.first: int | None = None
        """When `remember` has something to do."""

    # --- subnets ----------------------------------------------------------------------------------------------------

    def trusts(self, host: str) -> bool:
        """Whether `host` (an IP literal) is in a trusted subnet."""
        if not self._subnets:
            return False
        address = ip_address(host.partition("%")[0])
        return any(address in subnet for subnet in self._subnets if subnet.version == address.version)

    # --- beacons ----------------------------------------------------------------------------------------------------

    def seal(self, beacon: Beacon, peer: PeerName) -> Beacon:
        """`beacon` with a MAC for `peer`, if the peer's public key is known."""
        key = self._ring.beacon_key(peer) if self._ring is not None and peer else None
        if key is None:
            return beacon
        self._beacons_sent += 1
        return authenticated(replace(beacon, count=self._beacons_sent), key)

    def genuine(self, beacon: Beacon) -> bool:
        """Whether the sender is authentic and the beacon is not a replay."""
        if self._ring is None:
            return True
        key = self._ring.beacon_key(beacon.name) if beacon.mac else None
        rank = (beacon.uid, beacon.count)
        if key is None or rank <= self._beacons_heard.get(beacon.name, (-1, 0)) or not authentic(beacon, key):
            return False
        self._beacons_heard[beacon.name] = rank
        return True

    # --- refusals ---------------------------------------------------------------------------------------------------

    def refused(self, connection: Connection, ending: Ending, now: int) -> list[Effect]:
        """A connection has ended because of the password, or because there are too many strangers."""
        host = connection.remote.host
        hello = connection.hello
        said = clean(" ".join(ending.text[:MAX_TEXT].split()))  # may be text from the other side
        name = clean(f"{hello.name}({hello.nickname})", most=MAX_TEXT) if hello is not None else ""
        if connection.dialled is None:
            before = self.refusals.pop(host, None)
            count = before.count + 1 if before is not None else 1
            self.refusals[host] = RefusedSource(host, name, said, count, now)
            if len(self.refusals) > SHOWN:
                del self.refusals[next(iter(self.refusals))]
        if ending.reason == Reason.BUSY or source(host) in self._warned:
            return []
        self._warned[source(host)] = None
        if len(self._warned) > WARNED:
            del self._warned[next(iter(self._warned))]
        direction = "to" if connection.outbound else "from"
        text = f"connection {direction} {connection.control} refused: {said} {name}".rstrip()
        return [Log("warning", f"{text}; said once, tried again and again")]

    def shown(self, now: int) -> list[RefusedSource]:
        """The recent refusals."""
        return [refusal for refusal in self.refusals.values() if now - refusal.at < SHOWN_FOR]

    def established(self, connection: Connection, now: int) -> None:
        """A connection with this source is established: clear its refusals."""
        self.refusals.pop(connection.remote.host, None)
        self._warned.pop(source(connection.remote.host), None)
        if self._ring is not None and self.first is None:
            self.first = now + REMEMBER_PAUSE

    # --- known keys -------------------------------------------------------------------------------------------------

    def remember(self, records: Mapping[PeerName, PeerRecord]) -> list[Effect]:
        """Store the public keys that arrived by gossip."""
        self.first = None
        assert self._ring is not None
        return self._ring.remember({name: record.key for name, record in records.items()})
