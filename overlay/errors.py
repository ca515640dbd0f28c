"""The errors of the overlay, split by whose fault they are.

    OverlayError
    ├── UsageError          the caller asked for something wrong (bad address, unknown container, range full)
    ├── ConfigError         the options of this peer do not fit together, or do not fit the running peer
    ├── RemoteError         the other side broke the protocol; close that connection, keep everything else
    └── EnvironmentProblem  the machine lacks or refuses something (kernel feature, engine, port in use)

Every error says what was found, what was expected and what to do. Broken invariants are `assert`s, not errors.
"""


class OverlayError(Exception):
    """Base of all errors that the overlay raises on purpose."""


class UsageError(OverlayError):
    """The caller's request cannot be executed as given; nothing was changed."""


class ConfigError(OverlayError):
    """The configuration is inconsistent, or differs from that of the running peer."""


class RemoteError(OverlayError):
    """A remote peer sent something that the protocol does not allow."""


class EnvironmentProblem(OverlayError):
    """The machine lacks or refuses something that this peer needs; the text names the fix."""
