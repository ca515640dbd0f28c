"""Benchmarks: what is claimed to be fast, measured. No tests: nothing here fails because it is slow."""
