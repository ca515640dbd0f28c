"""What the backends with real kernels share."""
