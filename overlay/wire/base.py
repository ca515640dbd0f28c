"""The base of everything sent between peers, and the range of tags that each part owns. No logic.

Wire structs are MessagePack arrays (`array_like`) whose first element is the tag. A field may be added at the end with
a default (old peers ignore it, new peers fill it in); nothing is ever removed, reordered or retyped within one protocol
version. Tags: mesh 1-31, origin maps 32-39, IPAM 40-59, datagrams 60-69, policies 70-79.
"""

from msgspec import Struct


class Wire(Struct, frozen=True, array_like=True):
    """Base of all wire structs; those in a union also set `tag=<int>`."""
