"""This peer's long-lived key pair and the public keys of others, with which known peers skip the PAKE.

Public keys travel in topology records, which only peers with the password can read or write: once one neighbour has
admitted a peer, all know its key. The secret of two peers is derived from both key pairs *and* the password, so a new
password invalidates all stored keys. Knows no connection; emits `Persist` for data that must survive a restart.
"""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from overlay.config import PeerName
from overlay.crypto.derive import KEY, expand, extract
from overlay.crypto.pake import Crypto
from overlay.effects import Effect, Persist
from overlay.stored import decode, understood

PRIVATE: Final = "session-key"
OTHERS: Final = "session-peers"
MAX_OTHERS: Final = 4096


class Keyring:
    """Keys of one peer. `heard` returns the key in a peer's record, b"" if it has none."""

    def __init__(
        self, crypto: Crypto, password: str, stored: Mapping[str, bytes], heard: Callable[[PeerName], bytes]
    ) -> None:
        self._crypto = crypto
        self._password = password.encode()
        self._heard = heard
        private = stored.get(PRIVATE, b"")
        with understood(PRIVATE):
            if len(private) not in (0, KEY):
                raise ValueError(f"found {len(private)} bytes, expected {KEY}")
        self._fresh = len(private) != KEY
        self._private = crypto.entropy(KEY) if self._fresh else private
        self.public = crypto.public(self._private)
        self._others: dict[PeerName, bytes] = {}
        if OTHERS in stored and not self._fresh:
            self._others = decode(OTHERS, stored[OTHERS], dict[PeerName, bytes])
        self._secrets: dict[bytes, bytes | None] = {}

    def start(self) -> list[Effect]:
        """Write a new key to disk before any peer learns it."""
        return [Persist(PRIVATE, self._private)] if self._fresh else []

    def secret(self, peer: PeerName) -> bytes | None:
        """The shared secret of this peer and `peer`, 32 bytes; None if the peer's public key is unknown."""
        public = self._heard(peer) or self._others.get(peer, b"")
        if not public:
            return None
        if public not in self._secrets:
            if len(self._secrets) >= MAX_OTHERS:
                self._secrets.clear()
            common = self._crypto.exchange(self._private, public)
            self._secrets[public] = None if common is None else expand(extract(self._password, common), "acquainted")
        return self._secrets[public]

    def beacon_key(self, peer: PeerName) -> bytes | None:
        """The key that authenticates beacons between this peer and `peer`; None if the peer's public key is unknown."""
        secret = self.secret(peer)
        return None if secret is None else expand(secret, "beacon")

    def remember(self, peers: Mapping[PeerName, bytes]) -> list[Effect]:
        """Store these public keys across restarts; writes nothing if all are stored already."""
        news = {peer: key for peer, key in peers.items() if key and self._others.get(peer) != key}
        if not news:
            return []
        for peer, key in news.items():
            self._others.pop(peer, None)
            self._others[peer] = key
        while len(self._others) > MAX_OTHERS:
            del self._others[next(iter(self._others))]
        return [Persist(OTHERS, msgspec.msgpack.encode(self._others))]
