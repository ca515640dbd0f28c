"""One control connection as bytes: first frame, version negotiation, framing, sealing. Knows no peers and no semantics.

Every frame is a length (4 bytes, big-endian, without these 4 bytes) followed by the payload. The first frame of each
side is `MAGIC`, the lowest and the highest protocol version it speaks (one byte each), and any additions of later
versions; both sides then use the highest version that both know. All later frames hold one message each. Before the
handshake is complete messages must be short, so that strangers cannot fill a peer's memory. From `secure` on every
frame is sealed (AES-256-GCM) under keys that change by time and volume: a `Rekey` is the last message under the old
key.

The driver makes one `Session` for each TCP connection, sends `outgoing()` at once, passes received bytes to `feed`,
takes the messages one by one, and reports `TcpOpened` as soon as `agreed` is not None. After a message that decides how
the next frame is read, no message can be taken until this side has replied.
"""

from collections.abc import Callable
from enum import Enum
from hashlib import sha256
from typing import Final, NoReturn

from overlay.crypto.derive import RootKeys, epoch_key, next_root
from overlay.env import SECOND
from overlay.errors import RemoteError
from overlay.wire.codec import MAX_MESSAGE, Envelope, Message, decode_message, encode_message
from overlay.wire.envelopes import Accept, Confirm, PakeShare, Rekey, Resume

MAGIC: Final = b"overlay-mesh"
LOWEST_VERSION: Final = 1
HIGHEST_VERSION: Final = 1
MAX_FIRST_FRAME: Final = 256
"""Bytes that a stranger may send before both sides know that they speak the same protocol."""
MAX_HANDSHAKE: Final = 16 * 1024
"""Maximum bytes of one message before the other side's `Accept` has arrived."""
REKEY_TIME: Final = 3600 * SECOND
REKEY_FRAMES: Final = 1 << 20
REKEY_BYTES: Final = 1 << 32
"""A sender changes its key after this time, number of frames, or number of bytes, whichever comes first."""

_LENGTH: Final = 4
_TAG: Final = 16


class Phase(Enum):
    """What a session expects to receive."""

    FIRST_FRAME = 1
    HANDSHAKE = 2
    MESSAGES = 3
    BROKEN = 4


_LIMITS = {Phase.FIRST_FRAME: MAX_FIRST_FRAME, Phase.HANDSHAKE: MAX_HANDSHAKE, Phase.MESSAGES: MAX_MESSAGE}
_DECISIVE = (PakeShare, Resume, Confirm)
"""Messages after which the other side's next frame may be sealed, depending on how we handle them."""


class _Direction:
    """The keys and counters of one direction. A nonce is the frame's number under its key, 12 bytes, big-endian."""

    __slots__ = ("cipher", "frames", "root", "sealed_bytes", "since")

    def __init__(self, root: bytes, now: int) -> None:
        self.begin(root, now)

    def begin(self, root: bytes, now: int) -> None:
        # Imported here because it is slow to import and not needed without a password.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self.root = root
        self.cipher = AESGCM(epoch_key(root))
        self.frames = 0
        self.sealed_bytes = 0
        self.since = now

    def step(self, now: int) -> None:
        """Switch to the next key."""
        self.begin(next_root(self.root), now)

    @property
    def worn(self) -> bool:
        return self.frames >= REKEY_FRAMES or self.sealed_bytes >= REKEY_BYTES

    def nonce(self, size: int) -> bytes:
        nonce = self.frames.to_bytes(12, "big")
        self.frames += 1
        self.sealed_bytes += size
        return nonce


class Session:
    """The codec of one control connection, without I/O. `clock` limits the age of keys; without it keys do not age."""

    __slots__ = (
        "_buffer", "_clock", "_error", "_first", "_highest", "_lowest", "_paused", "_phase", "_receiving", "_sending",
        "agreed",
    )  # fmt: skip

    def __init__(
        self,
        lowest: int = LOWEST_VERSION,
        highest: int = HIGHEST_VERSION,
        clock: Callable[[], int] = lambda: 0,
    ) -> None:
        self._lowest = lowest
        self._highest = highest
        self._clock = clock
        self._buffer = bytearray()
        self._phase = Phase.FIRST_FRAME
        self._error = ""
        self._first = b""
        self._paused = False
        self._sending: _Direction | None = None
        self._receiving: _Direction | None = None
        self.agreed: int | None = None
        """The protocol version of this connection; None until the other side's first frame has arrived."""

    def outgoing(self) -> bytes:
        """The first frame, to be sent before anything else."""
        return _frame(MAGIC + bytes((self._lowest, self._highest)))

    def binding(self, dialled: bool) -> bytes:
        """A hash of both first frames: equal on both sides if nobody has modified them. Only after `agreed` is set."""
        frames = [self.outgoing()[_LENGTH:], self._first]
        if not dialled:
            frames.reverse()
        return sha256(b"".join(_frame(frame) for frame in frames)).digest()

    def encode(self, message: Message) -> bytes:
        """The frame of one message. Raises ValueError for a message longer than `MAX_MESSAGE`, which is a local bug."""
        assert self.agreed is not None, "a message was to be sent before a version was agreed on"
        payload = encode_message(message)
        if len(payload) > MAX_MESSAGE:
            raise ValueError(f"message of {len(payload)} bytes; the protocol allows {MAX_MESSAGE}")
        self._paused = False
        sending = self._sending
        if sending is None:
            return _frame(payload)
        frame = b""
        if sending.worn or self._clock() - sending.since >= REKEY_TIME:
            frame = _seal(sending, encode_message(Rekey()))
            sending.step(self._clock())
        return frame + _seal(sending, payload)

    def secure(self, keys: RootKeys) -> None:
        """Seal all later frames, in both directions."""
        assert self._sending is None, "a session was to be secured twice"
        self._sending = _Direction(keys.send, self._clock())
        self._receiving = _Direction(keys.receive, self._clock())
        self._paused = False

    def receive(self, data: bytes) -> list[Envelope]:
        """The messages that `data` (any piece of the stream) completes, in order, as far as they can be taken.

        Raises `RemoteError` for anything that the protocol does not allow; the session is unusable afterwards.
        """
        self.feed(data)
        messages = []
        while (message := self.take()) is not None:
            messages.append(message)
        return messages

    def feed(self, data: bytes) -> None:
        """Buffer a piece of the stream for `take`. Raises `RemoteError`."""
        if self._phase is Phase.BROKEN:
            raise RemoteError(self._error)
        self._buffer += data
        if self._paused and len(self._buffer) > MAX_HANDSHAKE:
            self._break(f"{len(self._buffer)} bytes have come while an answer is awaited")

    def take(self) -> Envelope | None:
        """The next complete message, or None. Raises `RemoteError`."""
        while not self._paused:
            if self._phase is Phase.BROKEN:
                raise RemoteError(self._error)
            try:
                payload = self._take_frame()
                if payload is None:
                    return None
                if self._phase is Phase.FIRST_FRAME:
                    self._negotiate(payload)
                    continue
                message = decode_message(payload)
                if type(message) is Rekey:
                    self._rekey()
                    continue
            except RemoteError as error:
                self._break(str(error))
            if type(message) is Accept:
                self._phase = Phase.MESSAGES
            self._paused = self._receiving is None and isinstance(message, _DECISIVE)
            return message
        return None

    def _break(self, text: str) -> NoReturn:
        self._phase = Phase.BROKEN
        self._error = text
        self._buffer.clear()
        raise RemoteError(text)

    def _take_frame(self) -> bytes | None:
        buffer = self._buffer
        if len(buffer) < _LENGTH:
            return None
        length = int.from_bytes(buffer[:_LENGTH], "big")
        receiving = self._receiving
        if length > _LIMITS[self._phase] + (_TAG if receiving is not None else 0):
            raise RemoteError(self._too_long(length))
        end = _LENGTH + length
        if len(buffer) < end:
            return None
        payload = bytes(buffer[_LENGTH:end])
        del buffer[:end]
        return payload if receiving is None else _open(receiving, payload)

    def _too_long(self, length: int) -> str:
        if self._phase is Phase.FIRST_FRAME:
            return f"first frame announces {length} bytes, at most {MAX_FIRST_FRAME} expected: not a peer of this mesh"
        return f"frame announces {length} bytes; the protocol allows {_LIMITS[self._phase]} now"

    def _rekey(self) -> None:
        if self._receiving is None:
            raise RemoteError("a new key is announced where there is none")
        self._receiving.step(0)

    def _negotiate(self, frame: bytes) -> None:
        if not frame.startswith(MAGIC) or len(frame) < len(MAGIC) + 2:
            raise RemoteError(f"first frame is {frame[:32]!r}, expected {MAGIC!r}: not a peer of this mesh")
        lowest, highest = frame[len(MAGIC)], frame[len(MAGIC) + 1]
        common = min(highest, self._highest)
        if lowest > highest or common < max(lowest, self._lowest):
            raise RemoteError(
                f"no common protocol version: the other side speaks {lowest} to {highest}, "
                f"this one {self._lowest} to {self._highest}"
            )
        self._first = frame
        self.agreed = common
        self._phase = Phase.HANDSHAKE


def _frame(payload: bytes) -> bytes:
    return len(payload).to_bytes(_LENGTH, "big") + payload


def _seal(direction: _Direction, payload: bytes) -> bytes:
    head = (len(payload) + _TAG).to_bytes(_LENGTH, "big")
    return head + direction.cipher.encrypt(direction.nonce(len(payload)), payload, head)


def _open(direction: _Direction, sealed: bytes) -> bytes:
    from cryptography.exceptions import InvalidTag

    if len(sealed) < _TAG:
        raise RemoteError(f"a sealed frame of {len(sealed)} bytes is shorter than its tag")
    head = len(sealed).to_bytes(_LENGTH, "big")
    try:
        return direction.cipher.decrypt(direction.nonce(len(sealed)), sealed, head)
    except InvalidTag:
        raise RemoteError("a sealed frame is not genuine") from None
