"""Maps that all peers share, merged by version, and how their changes spread (gossip). Pure."""
