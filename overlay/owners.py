"""Who can hold addresses and names on a host: containers, and owners that no engine knows. Pure words, no state.

Owns their names, and the command that takes an address from one: messages that print a remedy get it here, so that
what they print can be typed.
"""

__all__ = ["EXPOSED", "EXTERNAL", "PLUGIN", "endpoint_label", "is_own", "release_command", "replace_command", "short"]

EXTERNAL = "weave:extern"
"""Owner of DNS entries that belong to no container."""
EXPOSED = "weave:expose"
"""Owner of the addresses of this host itself."""
PLUGIN = "weave:plugin:"
"""What owners begin with that are endpoints of the plugin."""

_ID = 64


def is_own(owner: str) -> bool:
    """Whether no engine knows this owner as a container: this host, names alone, and endpoints of the plugin."""
    return owner.startswith("weave:")


def endpoint_label(container: str, endpoint: str) -> str:
    """What an endpoint of the plugin is announced as, once the engine has said which container it is in."""
    return f"{container}:{endpoint:.12}"


def short(owner: str) -> str:
    """An owner for people: an engine's id (of an endpoint: its container's) by its first 12 digits, others in full."""
    name = owner.partition(":")[0]
    return name[:12] if len(name) == _ID and not set(name) - set("0123456789abcdef") else owner


def _is_endpoint(owner: str) -> bool:
    return owner.startswith(PLUGIN) or (":" in owner and short(owner) != owner)


def release_command(owner: str, cidr: str = "") -> str:
    """What to type on its host for `owner` to give up "a.b.c.d/n" (empty: all that it has); in words if no command."""
    if owner == EXPOSED:
        return f"`weave hide {cidr}`" if cidr else "`weave hide --all`"
    if _is_endpoint(owner):
        return "disconnect its container from its network (`docker network disconnect`)"
    return f"`weave detach {cidr} {short(owner)}`" if cidr else f"`weave detach --all {short(owner)}`"


def replace_command(owner: str) -> str:
    """What to type after that for it to get another address of the default subnet."""
    if owner == EXPOSED:
        return "`weave expose`"
    return "connect it again" if _is_endpoint(owner) else f"`weave attach {short(owner)}`"
