"""`make dist`: the overlay and everything that it imports in one file, `dist/weave`. Copying it to a
host installs it.
"""
