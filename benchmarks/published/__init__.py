"""Published results of protocols, made again in the simulator: one file each, with what is taken from which paper."""
