"""The protocols between the parts of the lab, and the values in them. Implementations are elsewhere."""
