"""Code that the backends with real kernels share."""
