"""A probe and an overlay for overlay-lab, in a package of their own. docs/extending.md explains them."""
