"""The `weave` command: words in, requests to the router, words out."""
