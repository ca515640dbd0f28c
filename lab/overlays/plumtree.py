"""`overlay.kind: plumtree`: `lab.protocols.plumtree.Plumtree` on every host."""

from lab.kinds.overlays import OverlayKind
from lab.overlays._protocol import protocol_kind
from lab.protocols.plumtree import Plumtree

KIND: OverlayKind = protocol_kind("plumtree", Plumtree)
