"""Proves that both sides of a connection know the password, and derives the keys. Knows no duplicate connections.

The side that dialled leads. If it has the other's public key it sends `Resume`: a key pair for this connection, with a
MAC under the two peers' shared secret. Otherwise it sends `Pake`. The listener replies in kind (`Decline` if it does
not know the secret), and its reply holds the MAC that confirms the keys; the dialler confirms with `Confirm`. Each
side's MAC covers everything sent before, including the first frames and both `Hello`s, so a recorded message cannot be
replayed.

The PAKE costs milliseconds, so the driver computes it (`Compute`) and strangers are throttled. This peer dials into few
PAKEs at a time: after the first one has joined it to the mesh, gossip brings the keys with which it skips the others.
"""

from collections.abc import Callable
from enum import Enum
from hashlib import sha256
from typing import Final, Protocol

from msgspec import Struct

from overlay.config import PeerName
from overlay.crypto.derive import RootKeys, equal, expand, extract, mac
from overlay.crypto.pake import SEED, Crypto, Pake
from overlay.effects import Compute, Effect, Secure, SendTcp
from overlay.errors import RemoteError
from overlay.mesh.keyring import Keyring
from overlay.mesh.throttle import Throttle
from overlay.tuning import STANDARD, Tuning
from overlay.wire.envelopes import Confirm, Decline, Hello, PakeShare, Reason, Resume

MIN_PAKES: Final = 2
MAX_PAKES: Final = 16
"""Limits of simultaneous PAKEs that this peer has dialled into. It begins with few. While it turns out that they make
no others unnecessary, as for the first peer of a mesh that dials all the others, it doubles their number."""

Proving = PakeShare | Resume | Decline | Confirm
"""The messages of a proof."""


class ProofStage(Enum):
    """What the proof waits for."""

    QUEUED = "its turn"
    """Dialler side."""
    STARTING = "own share"
    PAKING = "the other share"
    RESUMING = "the other key"
    FINISHING = "own result"
    LISTENING = "share or key"
    """Listener side."""
    DECLINED = "share"
    COMPUTING = "own share and result"
    CONFIRMING = "confirmation"


class SessionKeys:
    """All keys of one connection, 32 bytes each. Both sides hold the same pairs, with send and receive swapped."""

    __slots__ = ("beat", "control", "data")

    def __init__(self, root: bytes, dials: bool) -> None:
        def pair(purpose: str) -> RootKeys:
            ours, theirs = ("dialler", "listener") if dials else ("listener", "dialler")
            return RootKeys(expand(root, f"{purpose} {ours}"), expand(root, f"{purpose} {theirs}"))

        self.control = pair("control")
        self.data = pair("data")
        self.beat = pair("beat")


def transcript(dialler: Hello, listener: Hello, binding: bytes) -> bytes:
    """The hash of everything sent before the proof: first frames (`binding`) and the known fields of both Hellos."""
    hashed = sha256(b"overlay-mesh proof 1" + binding)
    for hello in (dialler, listener):
        fields = (hello.name, hello.nickname, str(hello.uid), str(hello.nonce), str(hello.port), str(hello.trusted))
        for field in (*fields, *hello.features):
            data = field.encode()
            hashed.update(len(data).to_bytes(4, "big") + data)
        hashed.update(b"\xff" * 4)
    return hashed.digest()


class _Proof:
    """The proof of one connection."""

    __slots__ = ("conn", "dials", "first", "names", "pake", "peer", "private", "root", "source", "stage", "told")

    def __init__(self, conn: int, dials: bool, own: PeerName, peer: PeerName, source: str, told: bytes) -> None:
        self.conn = conn
        self.dials = dials
        self.peer = peer
        self.names = (own, peer) if dials else (peer, own)
        self.source = source
        self.told = told
        self.stage = ProofStage.QUEUED if dials else ProofStage.LISTENING
        self.private = b""
        self.first = b""
        """The dialler's share or public key."""
        self.pake: Pake | None = None
        self.root = b""
        """Secret of the connection; b"" until it is known."""


class _Outcome(Struct, frozen=True):
    """The result of a PAKE."""

    secret: bytes | None
    share: bytes
    """The listener's share."""
    proof: bytes


class ProofListener(Protocol):
    """The interface through which the connections hear how proofs end."""

    def proved(self, conn: int, keys: SessionKeys, now: int) -> list[Effect]:
        """Both sides know the password; frames are sealed from now on."""
        ...

    def refused(self, conn: int, reason: Reason, text: str, now: int) -> list[Effect]:
        """The proof failed, or was refused because of overload."""
        ...


class Proofs:
    """All proofs in progress at one peer."""

    def __init__(
        self, own: PeerName, password: str, crypto: Crypto, ring: Keyring, judge: ProofListener,
        tuning: Tuning = STANDARD,
    ) -> None:  # fmt: skip
        self._tuning = tuning
        self._own = own
        self._password = password
        self._crypto = crypto
        self._ring = ring
        self._judge = judge
        self._throttle = Throttle()
        self._proofs: dict[int, _Proof] = {}
        self._queue: dict[int, None] = {}
        self._turns: dict[int, int] = {}
        """When each dialled PAKE that counts against `_slots` started."""
        self._slots = MIN_PAKES
        self._vain = False
        """A PAKE has succeeded, and no proof in the queue was resumed since."""
        self._next_at = 0
        self._look_at = 0
        self._jobs: dict[int, int] = {}
        self._last_job = 0
        self._handlers: dict[tuple[ProofStage, type[Proving]], Callable[[_Proof, Proving, int], list[Effect]]] = {
            (ProofStage.RESUMING, Resume): self._resumed,
            (ProofStage.RESUMING, Decline): self._declined,
            (ProofStage.PAKING, PakeShare): self._answered,
            (ProofStage.LISTENING, Resume): self._asked_to_resume,
            (ProofStage.LISTENING, PakeShare): self._asked,
            (ProofStage.DECLINED, PakeShare): self._asked,
            (ProofStage.CONFIRMING, Confirm): self._confirmed,
        }
        self.computed_pakes = 0

    def begin(self, conn: int, dials: bool, own: Hello, other: Hello, source: str, binding: bytes) -> list[Effect]:
        """Both Hellos have been sent on a connection with `source` (a host)."""
        told = transcript(own, other, binding) if dials else transcript(other, own, binding)
        proof = self._proofs[conn] = _Proof(conn, dials, self._own, other.name, source, told)
        if not dials:
            return []
        return self._try_to_resume(proof) or self._enqueue(proof)

    def receive(self, conn: int, message: Proving, now: int) -> list[Effect]:
        """Handle one message of the other side. Raises `RemoteError`."""
        proof = self._proofs.get(conn)
        handler = self._handlers.get((proof.stage, type(message))) if proof is not None else None
        if proof is None or handler is None:
            stage = proof.stage.value if proof is not None else "nothing of the kind"
            raise RemoteError(f"{type(message).__name__} found where {stage} was awaited")
        return handler(proof, message, now)

    def computed(self, job: int, result: object, now: int) -> list[Effect]:
        """The driver has finished a `Compute`."""
        proof = self._proofs.get(self._jobs.pop(job, 0))
        if proof is None:
            return []
        if proof.stage is ProofStage.STARTING:
            return self._started(proof, result)
        return self._finished(proof, result, now)

    def drop(self, conn: int) -> None:
        """A connection has ended."""
        self._proofs.pop(conn, None)
        self._queue.pop(conn, None)
        self._turns.pop(conn, None)

    def wake(self, now: int) -> list[Effect]:
        """Continue the proofs whose turn has come, or whose peer's key has become known in the meantime."""
        effects: list[Effect] = []
        self._look_at = now + self._tuning.pake_pause
        if self._vain and now >= self._next_at:
            self._vain = False
            self._slots = min(2 * self._slots, MAX_PAKES)
        for conn, since in list(self._turns.items()):
            if now - since >= self._tuning.pake_turn:
                del self._turns[conn]
        for conn in list(self._queue):
            proof = self._proofs[conn]
            resumed = self._try_to_resume(proof)
            if resumed:
                del self._queue[conn]
                effects += resumed
            elif len(self._turns) < self._slots and now >= self._next_at:
                del self._queue[conn]
                self._turns[conn] = now
                effects += self._start(proof)
        return effects

    @property
    def first(self) -> int | None:
        """When `wake` has something to do."""
        return self._look_at if self._queue else None

    # --- dialler ----------------------------------------------------------------------------------------------------

    def _enqueue(self, proof: _Proof) -> list[Effect]:
        proof.stage = ProofStage.QUEUED
        if not self._queue:
            self._look_at = 0
        self._queue[proof.conn] = None
        return []

    def _try_to_resume(self, proof: _Proof) -> list[Effect]:
        if proof.private:  # tried before, and declined
            return []
        secret = self._ring.secret(proof.peer)
        if secret is None:
            return []
        self._slots, self._vain = MIN_PAKES, False
        proof.private = self._crypto.entropy(32)
        proof.first = self._crypto.public(proof.private)
        proof.stage = ProofStage.RESUMING
        return [SendTcp(proof.conn, Resume(proof.first, mac(secret, b"dialler" + proof.told + proof.first)))]

    def _resumed(self, proof: _Proof, message: Proving, now: int) -> list[Effect]:
        assert isinstance(message, Resume)
        secret = self._ring.secret(proof.peer)
        common = self._crypto.exchange(proof.private, message.public)
        if secret is None or common is None:
            raise RemoteError("the key of a resumed session is none")
        proof.root = self._root(proof, secret + common, proof.first, message.public)
        return self._judge_answer(proof, message.proof, now)

    def _declined(self, proof: _Proof, message: Proving, now: int) -> list[Effect]:
        self._enqueue(proof)
        return self.wake(now)

    def _start(self, proof: _Proof) -> list[Effect]:
        proof.stage = ProofStage.STARTING
        crypto, password, names, seed = self._crypto, self._password, proof.names, self._crypto.entropy(SEED)
        return self._compute(proof, lambda: crypto.pake(password, True, *names, seed))

    def _started(self, proof: _Proof, result: object) -> list[Effect]:
        proof.pake = result  # type: ignore[assignment]
        assert proof.pake is not None
        proof.first = proof.pake.message
        proof.stage = ProofStage.PAKING
        return [SendTcp(proof.conn, PakeShare(proof.first))]

    def _answered(self, proof: _Proof, message: Proving, now: int) -> list[Effect]:
        assert isinstance(message, PakeShare) and proof.pake is not None
        proof.stage = ProofStage.FINISHING
        pake, share, confirmation = proof.pake, message.share, message.proof
        return self._compute(proof, lambda: _Outcome(pake.finish(share), share, confirmation))

    def _judge_answer(self, proof: _Proof, confirmation: bytes, now: int) -> list[Effect]:
        """The dialler's last step. It sends `Confirm` even after a wrong one, so that both sides notice the failure."""
        confirm = SendTcp(proof.conn, Confirm(mac(expand(proof.root, "confirm dialler"), b"dialler")))
        if not equal(confirmation, mac(expand(proof.root, "confirm listener"), b"listener")):
            return [confirm, *self._refuse(proof, Reason.PASSWORD, "wrong password", now)]
        counted = self._turns.pop(proof.conn, None) is not None
        if counted and (not self._vain or self._slots == MIN_PAKES):
            self._vain, self._next_at = True, now + self._tuning.pake_pause
        return [confirm, *self._conclude(proof, now)]

    # --- listener ---------------------------------------------------------------------------------------------------

    def _asked_to_resume(self, proof: _Proof, message: Proving, now: int) -> list[Effect]:
        assert isinstance(message, Resume)
        secret = self._ring.secret(proof.peer)
        known = secret is not None and equal(message.proof, mac(secret, b"dialler" + proof.told + message.public))
        private = self._crypto.entropy(32)
        common = self._crypto.exchange(private, message.public) if known else None
        if secret is None or common is None:
            proof.stage = ProofStage.DECLINED
            return [SendTcp(proof.conn, Decline())]
        public = self._crypto.public(private)
        proof.root = self._root(proof, secret + common, message.public, public)
        proof.stage = ProofStage.CONFIRMING
        return [SendTcp(proof.conn, Resume(public, mac(expand(proof.root, "confirm listener"), b"listener")))]

    def _asked(self, proof: _Proof, message: Proving, now: int) -> list[Effect]:
        assert isinstance(message, PakeShare)
        if not self._throttle.allows(proof.source, now):
            return self._refuse(proof, Reason.BUSY, "too many handshakes with strangers", now)
        proof.stage = ProofStage.COMPUTING
        proof.first = message.share
        crypto, password, names, seed = self._crypto, self._password, proof.names, self._crypto.entropy(SEED)

        def work() -> _Outcome:
            pake = crypto.pake(password, False, *names, seed)
            return _Outcome(pake.finish(message.share), pake.message, b"")

        return self._compute(proof, work)

    def _confirmed(self, proof: _Proof, message: Proving, now: int) -> list[Effect]:
        assert isinstance(message, Confirm)
        if not equal(message.proof, mac(expand(proof.root, "confirm dialler"), b"dialler")):
            return self._refuse(proof, Reason.PASSWORD, "wrong password", now)
        return self._conclude(proof, now)

    # --- both sides -------------------------------------------------------------------------------------------------

    def _compute(self, proof: _Proof, work: Callable[[], object]) -> list[Effect]:
        self._last_job += 1
        self._jobs[self._last_job] = proof.conn
        self.computed_pakes += 1
        return [Compute(self._last_job, work)]

    def _finished(self, proof: _Proof, result: object, now: int) -> list[Effect]:
        assert isinstance(result, _Outcome)
        secret, share, confirmation = result.secret, result.share, result.proof
        if secret is None:
            return self._refuse(proof, Reason.PROTOCOL, "a share of the key exchange is none", now)
        proof.root = self._root(proof, secret, proof.first, share)
        if proof.stage is ProofStage.FINISHING:
            return self._judge_answer(proof, confirmation, now)
        proof.stage = ProofStage.CONFIRMING
        return [SendTcp(proof.conn, PakeShare(share, mac(expand(proof.root, "confirm listener"), b"listener")))]

    def _root(self, proof: _Proof, secret: bytes, first: bytes, second: bytes) -> bytes:
        proof.told = sha256(proof.told + sha256(first).digest() + sha256(second).digest()).digest()
        return extract(proof.told, secret)

    def _conclude(self, proof: _Proof, now: int) -> list[Effect]:
        keys = SessionKeys(proof.root, proof.dials)
        self.drop(proof.conn)
        return [Secure(proof.conn, keys.control), *self._judge.proved(proof.conn, keys, now)]

    def _refuse(self, proof: _Proof, reason: Reason, text: str, now: int) -> list[Effect]:
        self.drop(proof.conn)
        return [*self._judge.refused(proof.conn, reason, text, now), *self.wake(now)]
