"""What `weave check` looks at on a real host. Changes nothing, and sends packets to this host's own addresses only.

Owns the gathering: each part yields facts, or a sentence that says why it has none. What a fact means is judged in
`overlay.check`.
"""

from overlay.cli.facts.host import look

__all__ = ["look"]
