"""The same protocol cores in virtual time: scheduler, network, disks, clocks, and a world of peers."""
