"""Keys and their use. Pure: random bytes come in from outside."""
