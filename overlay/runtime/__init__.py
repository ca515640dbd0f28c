"""What runs a node, whoever provides clock, disk and sockets: the daemon, the simulator and the tests' worlds."""
