"""The owners of addresses and names on a host: containers, and owners that no engine knows. Pure words, no state.

Owns their names, and the command that releases an owner's address. Error messages take the command from here, so that
the user can type it as printed.
"""

__all__ = ["EXPOSED", "EXTERNAL", "PLUGIN", "endpoint_label", "is_own", "release_command", "replace_command", "short"]

EXTERNAL = "weave:extern"
"""Owner of DNS entries that belong to no container."""
EXPOSED = "weave:expose"
"""Owner of the addresses of this host itself."""
PLUGIN = "weave:plugin:"
"""Prefix of owners that are endpoints of the plugin."""

_ID = 64


def is_own(owner: str) -> bool:
    """Whether the owner is not a container that an engine knows, but this host, plain names, or a plugin endpoint."""
    return owner.startswith("weave:")


def endpoint_label(container: str, endpoint: str) -> str:
    """The name under which an endpoint of the plugin is announced, once the engine has reported its container."""
    return f"{container}:{endpoint:.12}"


def short(owner: str) -> str:
    """An owner for users: the first 12 digits of an engine's id (for an endpoint, of its container), others in full."""
    name = owner.partition(":")[0]
    return name[:12] if len(name) == _ID and not set(name) - set("0123456789abcdef") else owner


def _is_endpoint(owner: str) -> bool:
    return owner.startswith(PLUGIN) or (":" in owner and short(owner) != owner)


def release_command(owner: str, cidr: str = "") -> str:
    """The command that makes `owner` release "a.b.c.d/n" (empty: all) on its host; a description if there is none."""
    if owner == EXPOSED:
        return f"`weave hide {cidr}`" if cidr else "`weave hide --all`"
    if _is_endpoint(owner):
        return "disconnect its container from its network (`docker network disconnect`)"
    return f"`weave detach {cidr} {short(owner)}`" if cidr else f"`weave detach --all {short(owner)}`"


def replace_command(owner: str) -> str:
    """The command that then gives it another address of the default subnet."""
    if owner == EXPOSED:
        return "`weave expose`"
    return "connect it again" if _is_endpoint(owner) else f"`weave attach {short(owner)}`"
