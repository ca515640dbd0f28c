"""The messages between peers and their encoding, and nothing else. docs/wire.md describes them."""
