"""A verb, a probe, an overlay and a checker for overlay-lab, in a package of their own (docs/extending.md)."""
