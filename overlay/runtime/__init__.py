"""What runs a node; others provide clock, disk and sockets: the daemon, the simulator and the tests' worlds."""
