"""What a name in a scenario becomes (a container, a host name, a DNS name), and which names therefore cannot be.

Pure, and the only place that knows these limits: the grammar of a single name is `lab.scenario.base`'s.
"""

import re
from collections.abc import Mapping
from typing import Any

HOST_NAME = 64
"""Characters of a host name at most (`sethostname(2)`)."""
DNS_NAME = 253
DNS_DOMAIN = "weave.local"
"""Of the overlay's names, unless its options say otherwise."""
_CONTAINER = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
"""An engine's grammar for names of containers."""
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]*|[0-9]+")
_RESERVED = (
    *("localhost", "localdomain", "broadcasthost", "ip6-localhost", "ip6-loopback", "ip6-localnet", "ip6-mcastprefix"),
    *("ip6-allnodes", "ip6-allrouters", "ip6-allhosts", "host.docker.internal", "gateway.docker.internal", "all"),
)
"""Names that every machine's hosts file, or this language, has for something else."""


def unfit_for_host(name: str) -> str:
    """Why no host or container can be called so; empty if it can."""
    folded = name.lower()
    if folded in _RESERVED or folded.endswith((".localhost", ".localdomain")) or folded.startswith("localhost."):
        return "which means the machine itself, or something else, everywhere"
    parts = name.split(".")
    if len(parts) <= 4 and all(_NUMBER.fullmatch(part) for part in parts):
        return "which every tool takes for an address"
    return ""


def unfit_for_container(name: str) -> str:
    """Why no engine makes a container of this name; empty if it does."""
    return "" if _CONTAINER.fullmatch(name) else "which no engine takes as the name of a container"


def domain_of(options: Mapping[str, Any]) -> str:
    """The domain of the overlay's names, as its options say."""
    said = next((value for key, value in options.items() if key.replace("_", "-") == "dns-domain"), DNS_DOMAIN)
    return str(said).strip(".")


def full_name(name: str, domain: str) -> str:
    """A container's name in DNS: under the overlay's domain, unless it is there already."""
    bare, under = name.rstrip("."), domain.strip(".")
    return bare if bare.lower().endswith(f".{under.lower()}") else f"{bare}.{under}"


def host_name_of(name: str, domain: str) -> str:
    """What a container is told to be called: its full name, or, where that is too long for a kernel, the short one."""
    full = full_name(name, domain)
    return full if len(full) <= HOST_NAME else name
