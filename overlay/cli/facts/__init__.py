"""Collects facts about a real host for `weave check`. Changes nothing, and sends packets to this host's addresses only.

Owns the collection: each part returns facts, or a sentence with the reason why it has none. `overlay.check` judges
them.
"""

from overlay.cli.facts.host import look

__all__ = ["look"]
