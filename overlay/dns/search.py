"""The search list of a container: its own sub-domain of the overlay's domain first, then the domain. Pure."""

__all__ = ["search_list"]


def search_list(hostname: str, domainname: str, domain: str) -> list[str]:
    """For a container of this host name and domain name (both may be empty); `domain`: the overlay's, without dots at
    its ends. `c1.sub.weave.local` finds `c2` of its sub-domain by that word."""
    own = domainname.strip(".") or hostname.strip(".").partition(".")[2]
    return [own, domain] if own.lower().endswith(f".{domain.lower()}") else [domain]
