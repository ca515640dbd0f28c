"""Keys and their use. Pure: random bytes are passed in."""
