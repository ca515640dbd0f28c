"""Runs a node. The daemon, the simulator and the tests' worlds provide clock, disk and sockets."""
