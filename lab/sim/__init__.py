"""The same cores in virtual time: scheduler, network, disks, clocks, and the world of peers that they make."""
