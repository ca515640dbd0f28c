"""The router's use of a Docker engine and its containers: watch, attach, expose, the network plugin."""
