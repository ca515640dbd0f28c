"""A probe, an overlay and a verb for overlay-lab, in a package of their own. docs/extending.md explains them."""
