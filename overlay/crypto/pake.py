"""The group operations of the handshake: SPAKE2 and X25519, and a cheap stub for simulations. No protocol.

Everything else (HKDF, MACs) is in `derive`. Key material comes from `entropy`, which is passed to the constructor: the
operating system's on a real host, a seeded `Random` in a simulation.
"""

from collections.abc import Callable
from hashlib import shake_256
from typing import Final, Protocol

from overlay.env import Random

SEED: Final = 64
"""Bytes of entropy for one PAKE."""
MAX_PAKE: Final = 64
"""Maximum bytes of a PAKE message."""


class Pake(Protocol):
    """One side of one password-authenticated key exchange."""

    message: bytes
    """The message for the other side."""

    def finish(self, other: bytes) -> bytes | None:
        """The secret that both sides share if their passwords are equal; None for an invalid message."""
        ...


class Crypto(Protocol):
    """The operations that a handshake needs. `exchange` is cheap; `pake` and `finish` cost milliseconds."""

    def entropy(self, size: int) -> bytes:
        """`size` unpredictable bytes."""
        ...

    def public(self, private: bytes) -> bytes:
        """The public key, 32 bytes, of a private key (32 bytes of entropy)."""
        ...

    def exchange(self, private: bytes, public: bytes) -> bytes | None:
        """The shared secret of the two key pairs, the same from either side; None for an invalid public key."""
        ...

    def pake(self, password: str, dials: bool, dialler: str, listener: str, seed: bytes) -> Pake:
        """Start a PAKE; `dials`: on the side that dialled. `seed` is `SEED` bytes of entropy."""
        ...


class RealCrypto:
    """SPAKE2 on Ed25519 (RFC 9382, as in the `spake2` package) and X25519 (RFC 7748)."""

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self.entropy = entropy

    def public(self, private: bytes) -> bytes:
        """See `Crypto`."""
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

        return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()

    def exchange(self, private: bytes, public: bytes) -> bytes | None:
        """See `Crypto`."""
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

        try:
            return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))
        except ValueError:  # not 32 bytes, or a point of small order
            return None

    def pake(self, password: str, dials: bool, dialler: str, listener: str, seed: bytes) -> Pake:
        """See `Crypto`."""
        return _Spake2(password, dials, dialler, listener, seed)


class _Spake2:
    def __init__(self, password: str, dials: bool, dialler: str, listener: str, seed: bytes) -> None:
        from spake2 import SPAKE2_A, SPAKE2_B  # type: ignore[import-untyped]

        side = SPAKE2_A if dials else SPAKE2_B
        self._side = side(
            password.encode(), dialler.encode(), listener.encode(), entropy_f=lambda size: shake_256(seed).digest(size)
        )
        self.message: bytes = self._side.start()

    def finish(self, other: bytes) -> bytes | None:
        """See `Pake`."""
        from spake2 import SPAKEError

        try:
            secret: bytes = self._side.finish(other)
        except (SPAKEError, ValueError, AssertionError):  # wrong side, a reflection, or no point of the group
            return None
        except Exception as error:
            # `spake2` has its own exception class for every kind of bad point.
            if type(error).__module__.startswith("spake2."):
                return None
            raise
        return secret


class StubCrypto:
    """The same messages, sizes and results at a thousandth of the cost, for simulations. Protects nothing."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng

    def entropy(self, size: int) -> bytes:
        """See `Crypto`."""
        return self._rng.randbytes(size)

    def public(self, private: bytes) -> bytes:
        """See `Crypto`."""
        return private

    def exchange(self, private: bytes, public: bytes) -> bytes | None:
        """See `Crypto`."""
        return b"".join(sorted((private, public))) if len(public) == len(private) else None

    def pake(self, password: str, dials: bool, dialler: str, listener: str, seed: bytes) -> Pake:
        """See `Crypto`."""
        return _StubPake(f"{password}\0{dialler}\0{listener}", dials, seed)


class _StubPake:
    def __init__(self, secret: str, dials: bool, seed: bytes) -> None:
        self._secret = secret
        self._dials = dials
        self.message = bytes((dials,)) + seed[:32]

    def finish(self, other: bytes) -> bytes | None:
        """See `Pake`."""
        if len(other) != len(self.message) or other[0] == self._dials:
            return None
        first, second = (self.message, other) if self._dials else (other, self.message)
        return shake_256(self._secret.encode() + first + second).digest(32)
