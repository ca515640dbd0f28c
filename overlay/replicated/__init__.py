"""Maps shared by all peers, merged by version, and the gossip that spreads their changes. Pure."""
