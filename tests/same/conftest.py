"""The worlds beside this file are played by `make same`, on `sim` only; they are no tests of `make test`."""

collect_ignore_glob = ["*.yaml"]
