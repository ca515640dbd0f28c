"""Every message between peers and its bytes, and nothing else. docs/wire.md describes them."""
