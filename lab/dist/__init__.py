"""`make dist`: the overlay and all that it imports in one file, `dist/weave`. Copied to a host it is installed."""
