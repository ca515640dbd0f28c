"""Hosts in virtual time: engine, daemon, commands and probes of the `sim` backend, around `lab.sim`'s world."""
