"""Benchmarks: what the README claims, measured by committed code. Not tests: nothing here fails because it is slow."""
