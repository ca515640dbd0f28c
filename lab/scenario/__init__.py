"""From a scenario's YAML to its resolved form, with all problems told. Starts nothing."""
