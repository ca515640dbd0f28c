"""The search list of a container: its own sub-domain of the overlay's domain first, then the domain. Pure."""

__all__ = ["HOST_NAME_MAX", "full_host_name", "search_list"]

HOST_NAME_MAX = 64
"""The kernel's limit for a host name with its domain, in bytes."""


def full_host_name(name: str, domain: str) -> str:
    """The host name of a container in the overlay's domain; empty if it has no name or the result is too long."""
    bare = domain.strip(".")
    whole = name if name.lower().endswith(f".{bare.lower()}") else f"{name}.{bare}"
    return whole if name and len(whole) <= HOST_NAME_MAX else ""


def search_list(hostname: str, domainname: str, domain: str) -> list[str]:
    """The search list for this host name and domain name (both may be empty).

    `domain` is the overlay's, without dots at its ends. `c1.sub.weave.local` finds `c2` of its sub-domain by that short
    name.
    """
    own = domainname.strip(".") or hostname.strip(".").partition(".")[2]
    return [own, domain] if own.lower().endswith(f".{domain.lower()}") else [domain]
