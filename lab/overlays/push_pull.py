"""`overlay.kind: push_pull`: `lab.protocols.push_pull.PushPull` on every host."""

from lab.kinds.overlays import OverlayKind
from lab.overlays._protocol import protocol_kind
from lab.protocols.push_pull import PushPull

KIND: OverlayKind = protocol_kind("push_pull", PushPull)
