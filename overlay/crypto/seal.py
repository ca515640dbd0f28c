"""Sealing packets of the data path: AEAD, nonces, replay windows, new keys by time and by volume. Pure but for AES.

Owns the counter of 8 bytes that leads every sealed packet: an epoch (2 bytes) and a sequence number within it
(6 bytes), big-endian. What the packet holds and which header it has is not known here; the header goes in as
associated data. One `Sealer` and one `Opener` for each connection, made from the roots that the session derived
(`derive.RootKeys`). AES-256-GCM; the nonce is the counter behind four zero bytes. Every epoch has a key of its own, so
no nonce is used twice with one key.
"""

from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from overlay.crypto.derive import epoch_key, next_root
from overlay.env import SECOND

COUNTER: Final = 8
"""Bytes of epoch and sequence before the ciphertext."""
TAG: Final = 16
"""Bytes that sealing adds behind the plaintext."""
OVERHEAD: Final = COUNTER + TAG

EPOCH_TIME: Final = 120 * SECOND
"""A key is used no longer by a sender that has something to send."""
EPOCH_PACKETS: Final = 1 << 24
"""Packets under one key (RFC 8446, 5.5 counts 2^24.5 full ones for AES-GCM at an attacker's chance of 2^-57)."""
WINDOW: Final = 8192
"""How far a packet may be overtaken by others of its epoch and still count."""
AHEAD: Final = 1024
"""Epochs that a receiver may have missed: some 34 hours in which nothing came through."""

_SEQUENCE_BITS: Final = 48
_SEQUENCE_MASK: Final = (1 << _SEQUENCE_BITS) - 1
_EPOCH_MASK: Final = 0xFFFF
_NONCE_PAD: Final = bytes(4)
_NONCE: Final = len(_NONCE_PAD) + COUNTER
"""Bytes of a nonce: a counter as so many bytes is one, with its zeros."""

Encrypt = Callable[[bytes, bytes, bytes | None], bytes]
"""(nonce of 12 bytes, plaintext, associated data) -> ciphertext and tag."""


class Sealer:
    """The sending side."""

    __slots__ = ("_encrypt", "_first", "_left", "_root", "_until", "epoch")

    def __init__(self, root: bytes, now: int) -> None:
        self._root = root
        self.epoch = 0
        self._begin(now)

    def _begin(self, now: int) -> None:
        self._encrypt: Encrypt = AESGCM(epoch_key(self._root)).encrypt
        self._first = (self.epoch & _EPOCH_MASK) << _SEQUENCE_BITS
        self._left = EPOCH_PACKETS
        self._until = now + EPOCH_TIME

    def reserve(self, count: int, now: int) -> tuple[int, Encrypt]:
        """`count` counters in a row, from the first returned on, and what encrypts under them.

        For a batch: packet number i is `seal_with(encrypt, first + i, ...)`. At most `EPOCH_PACKETS` at a time.
        """
        if count > self._left or now >= self._until:
            assert count <= EPOCH_PACKETS
            self._root = next_root(self._root)
            self.epoch += 1
            self._begin(now)
        first = self._first
        self._first += count
        self._left -= count
        return first, self._encrypt

    def seal(self, plain: bytes, associated: bytes, now: int) -> bytes:
        """Counter, ciphertext and tag of one packet."""
        first, encrypt = self.reserve(1, now)
        return seal_with(encrypt, first, plain, associated)


def seal_with(encrypt: Encrypt, counter: int, plain: bytes, associated: bytes) -> bytes:
    """One packet under a counter that `Sealer.reserve` gave; every counter once only."""
    head = counter.to_bytes(COUNTER, "big")
    return head + encrypt(_NONCE_PAD + head, plain, associated)


class Window:
    """Which of the last `WINDOW` sequence numbers were seen: a ring of 64-bit words (RFC 6479)."""

    __slots__ = ("_words", "highest")

    def __init__(self) -> None:
        self._words = [0] * (WINDOW // 64 + 1)
        self.highest = -1

    def fresh(self, sequence: int) -> bool:
        """Whether `sequence` was not seen and is not too old to know."""
        if sequence > self.highest:
            return True
        if self.highest - sequence >= WINDOW:
            return False
        return not self._words[(sequence >> 6) % len(self._words)] >> (sequence & 63) & 1

    def mark(self, sequence: int) -> None:
        """`sequence`, which is fresh, has come."""
        words = self._words
        if sequence > self.highest:
            before, after = self.highest >> 6, sequence >> 6
            for word in range(before + 1, min(after, before + len(words)) + 1):
                words[word % len(words)] = 0
            if after - before > len(words):
                words[:] = [0] * len(words)
            self.highest = sequence
        words[(sequence >> 6) % len(words)] |= 1 << (sequence & 63)

    def mark_run(self, first: int, count: int) -> None:
        """`count` numbers from `first` on, which is above all that were seen, have come."""
        words, size = self._words, len(self._words)
        last = first + count - 1
        for word in range(max((self.highest >> 6) + 1, (last >> 6) - size + 1), (last >> 6) + 1):
            words[word % size] = 0
        self.highest = last
        for word in range(max(first >> 6, (last >> 6) - size + 1), (last >> 6) + 1):
            low, high = max(first, word << 6), min(last, (word << 6) + 63)
            words[word % size] |= ((1 << (high - low + 1)) - 1) << (low & 63)


class _Epoch:
    __slots__ = ("decrypt", "number", "window")

    def __init__(self, number: int, root: bytes) -> None:
        self.number = number
        self.decrypt = AESGCM(epoch_key(root)).decrypt
        self.window = Window()


class Opener:
    """The receiving side: keeps the current epoch and the one before, for packets that were overtaken.

    `forged` and `replayed` count what was refused.
    """

    __slots__ = ("_ahead", "_before", "_candidate", "_current", "forged", "newest", "replayed")

    def __init__(self, root: bytes) -> None:
        self._current = _Epoch(0, root)
        self._before: _Epoch | None = None
        self._ahead = [root]
        """Roots of the current epoch and of those after it, as far as something claimed to be of them."""
        self._candidate: _Epoch | None = None
        """A later epoch, until something proves to be of it."""
        self.forged = 0
        self.replayed = 0
        self.newest = False
        """The last packet that was opened is younger than all others: its sender is where it came from."""

    @property
    def epoch(self) -> int:
        """The epoch of the newest packet that was genuine."""
        return self._current.number

    def open_train(self, data: bytes, segment: int, at: int) -> list[bytes] | None:
        """The plaintexts of packets of `segment` bytes each (the last may be shorter), of which the first `at` bytes
        are the associated data, equal in all, and the counters follow each other.

        None, with nothing opened, unless all are genuine, of the current epoch and newer than all before: a shorter
        way for the usual case, and `open` is for the others.
        """
        associated = data[:at]
        counter = int.from_bytes(data[at : at + COUNTER], "big")
        sequence = counter & _SEQUENCE_MASK
        epoch = self._current
        if counter >> _SEQUENCE_BITS != epoch.number & _EPOCH_MASK or sequence <= epoch.window.highest:
            return None
        decrypt = epoch.decrypt
        behind = at + COUNTER
        try:
            # The others' counters and headers need no look: what was not sealed with exactly these does not open.
            plains = [
                decrypt(number.to_bytes(_NONCE, "big"), data[start + behind : start + segment], associated)
                for number, start in enumerate(range(0, len(data), segment), counter)
            ]
        except InvalidTag:
            return None
        epoch.window.mark_run(sequence, len(plains))
        self.newest = True
        return plains

    def open(self, packet: bytes | memoryview, associated: bytes) -> bytes | None:
        """The plaintext of counter, ciphertext and tag; None for what is forged, damaged, replayed or too old."""
        if len(packet) < OVERHEAD:
            self.forged += 1
            return None
        head = bytes(packet[:COUNTER])
        counter = int.from_bytes(head, "big")
        sequence = counter & _SEQUENCE_MASK
        epoch = self._epoch(counter >> _SEQUENCE_BITS)
        if epoch is None:
            self.forged += 1
            return None
        if not epoch.window.fresh(sequence):
            self.replayed += 1
            return None
        try:
            plain = epoch.decrypt(_NONCE_PAD + head, packet[COUNTER:], associated)
        except InvalidTag:
            self.forged += 1
            return None
        self.newest = epoch is not self._before and sequence > epoch.window.highest
        epoch.window.mark(sequence)
        if epoch is self._candidate:
            self._advance(epoch)
        return plain

    def _epoch(self, claimed: int) -> _Epoch | None:
        """The epoch of which a packet says that it is; several steps on after a silence."""
        current = self._current
        steps = (claimed - current.number) & _EPOCH_MASK
        if steps == 0:
            return current
        if self._before is not None and claimed == self._before.number & _EPOCH_MASK:
            return self._before
        if steps > AHEAD:
            return None
        while len(self._ahead) <= steps:
            self._ahead.append(next_root(self._ahead[-1]))
        number = current.number + steps
        if self._candidate is None or self._candidate.number != number:
            self._candidate = _Epoch(number, self._ahead[steps])
        return self._candidate

    def _advance(self, epoch: _Epoch) -> None:
        del self._ahead[: epoch.number - self._current.number]
        self._before, self._current, self._candidate = self._current, epoch, None
