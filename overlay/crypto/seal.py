"""Seals packets of the data path: AEAD, nonces, replay windows, new keys by time and by volume. Pure except for AES.

Owns the counter of 8 bytes at the start of every sealed packet: an epoch (2 bytes) and a sequence number within it (6
bytes), big-endian. Does not know the content or the header of a packet; the header is passed as associated data. There
is one `Sealer` and one `Opener` for each connection, made from the roots that the session derived (`derive.RootKeys`).
AES-256-GCM; the nonce is four zero bytes and the counter. Every epoch has its own key, so a nonce is never used twice
with one key.
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
"""Bytes that sealing adds after the plaintext."""
OVERHEAD: Final = COUNTER + TAG

EPOCH_TIME: Final = 120 * SECOND
"""Maximum age of a key when a sender uses it."""
EPOCH_PACKETS: Final = 1 << 24
"""Maximum packets under one key (RFC 8446, 5.5 allows 2^24.5 full-size ones for AES-GCM at an attacker's chance of
2^-57)."""
WINDOW: Final = 8192
"""How far a packet may be behind the newest of its epoch and still be accepted."""
AHEAD: Final = 1024
"""Epochs that a receiver may have missed: about 34 hours without a packet."""

_SEQUENCE_BITS: Final = 48
_SEQUENCE_MASK: Final = (1 << _SEQUENCE_BITS) - 1
_EPOCH_MASK: Final = 0xFFFF
_NONCE_PAD: Final = bytes(4)
_NONCE: Final = len(_NONCE_PAD) + COUNTER
"""Bytes of a nonce: a counter encoded in this many bytes has the leading zeros."""

Encrypt = Callable[[bytes, bytes, bytes | None], bytes]
"""(nonce of 12 bytes, plaintext, associated data) -> ciphertext and tag."""


class Sealer:
    """The sending side."""

    __slots__ = ("_encrypt", "_first", "_left", "_root", "_until", "epoch", "key")

    def __init__(self, root: bytes, now: int) -> None:
        self._root = root
        self.epoch = 0
        self._begin(now)

    def _begin(self, now: int) -> None:
        self.key = epoch_key(self._root)
        self._encrypt: Encrypt = AESGCM(self.key).encrypt
        self._first = (self.epoch & _EPOCH_MASK) << _SEQUENCE_BITS
        self._left = EPOCH_PACKETS
        self._until = now + EPOCH_TIME

    @property
    def free(self) -> range:
        """The counters that are left under the current key, until the time `until`."""
        return range(self._first, self._first + self._left)

    @property
    def until(self) -> int:
        """When the current key must not be used any more."""
        return self._until

    def reserve(self, count: int, now: int) -> tuple[int, Encrypt]:
        """Reserve `count` consecutive counters; returns the first of them, and the function that encrypts under them.

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
    """One packet under a counter from `Sealer.reserve`; a counter may be used only once."""
    head = counter.to_bytes(COUNTER, "big")
    return head + encrypt(_NONCE_PAD + head, plain, associated)


class Window:
    """Which of the last `WINDOW` sequence numbers were seen: a ring of 64-bit words (RFC 6479)."""

    __slots__ = ("_words", "highest")

    def __init__(self) -> None:
        self._words = [0] * (WINDOW // 64 + 1)
        self.highest = -1

    def fresh(self, sequence: int) -> bool:
        """Whether `sequence` was not seen before and is not older than the window."""
        if sequence > self.highest:
            return True
        if self.highest - sequence >= WINDOW:
            return False
        return not self._words[(sequence >> 6) % len(self._words)] >> (sequence & 63) & 1

    def mark(self, sequence: int) -> None:
        """Mark `sequence`, which is fresh, as seen."""
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
        """Mark `count` numbers from `first` on as seen; all are above those seen before."""
        words, size = self._words, len(self._words)
        last = first + count - 1
        for word in range(max((self.highest >> 6) + 1, (last >> 6) - size + 1), (last >> 6) + 1):
            words[word % size] = 0
        self.highest = last
        for word in range(max(first >> 6, (last >> 6) - size + 1), (last >> 6) + 1):
            low, high = max(first, word << 6), min(last, (word << 6) + 63)
            words[word % size] |= ((1 << (high - low + 1)) - 1) << (low & 63)


class _Epoch:
    __slots__ = ("decrypt", "key", "number", "window")

    def __init__(self, number: int, root: bytes) -> None:
        self.number = number
        self.key = epoch_key(root)
        self.decrypt = AESGCM(self.key).decrypt
        self.window = Window()


class Opener:
    """The receiving side: keeps the current epoch and the previous one, for reordered packets.

    `forged` and `replayed` count refused packets.
    """

    __slots__ = ("_ahead", "_before", "_candidate", "_current", "forged", "newest", "replayed")

    def __init__(self, root: bytes) -> None:
        self._current = _Epoch(0, root)
        self._before: _Epoch | None = None
        self._ahead = [root]
        """Roots of the current epoch and of later ones, as far as packets have claimed them."""
        self._candidate: _Epoch | None = None
        """A later epoch, until a genuine packet confirms it."""
        self.forged = 0
        self.replayed = 0
        self.newest = False
        """The last opened packet is the newest so far, so its source is the sender's current address."""

    @property
    def epoch(self) -> int:
        """The epoch of the newest genuine packet."""
        return self._current.number

    @property
    def key(self) -> bytes:
        """The key of the current epoch."""
        return self._current.key

    @property
    def expected(self) -> range:
        """The counters of the current epoch that are newer than all before."""
        first = (self._current.number & _EPOCH_MASK) << _SEQUENCE_BITS
        return range(first + self._current.window.highest + 1, first + _SEQUENCE_MASK + 1)

    def mark_train(self, counter: int, count: int) -> None:
        """As many packets from one of the `expected` counters on were opened with `key`."""
        self._current.window.mark_run(counter & _SEQUENCE_MASK, count)
        self.newest = True

    def open_train(self, data: bytes, segment: int, at: int) -> list[bytes] | None:
        """The plaintexts of consecutive packets of `segment` bytes each (the last may be shorter).

        The first `at` bytes of each are the associated data, equal in all. A fast path: returns None, with nothing
        opened, unless all packets are genuine, of the current epoch and newer than all before. Use `open` for the
        others.
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
            # The other packets' counters and headers need no check: a packet sealed with different ones does not open.
            plains = [
                decrypt(number.to_bytes(_NONCE, "big"), data[start + behind : start + segment], associated)
                for number, start in enumerate(range(0, len(data), segment), counter)
            ]
        except InvalidTag:
            return None
        self.mark_train(counter, len(plains))
        return plains

    def open(self, packet: bytes | memoryview, associated: bytes) -> bytes | None:
        """The plaintext of counter, ciphertext and tag; None if it is forged, damaged, replayed or too old."""
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
        """The epoch that a packet claims; it may be several steps ahead after a silence."""
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
