"""`overlay.kind: swim`: `lab.protocols.swim.Swim` on every host."""

from lab.kinds.overlays import OverlayKind
from lab.overlays._protocol import protocol_kind
from lab.protocols.swim import Swim

KIND: OverlayKind = protocol_kind("swim", Swim)
