"""A test lab for container overlay networks: deploys `overlay` onto hosts of several kinds, breaks the network
underneath on purpose, and shows what happened. Needs the extra `overlay-lab[lab]`."""
