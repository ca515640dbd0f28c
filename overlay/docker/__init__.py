"""What the router does with a Docker engine and its containers: watch, attach, expose, the network plugin."""
