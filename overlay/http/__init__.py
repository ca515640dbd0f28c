"""The local HTTP listeners that router and proxy share: who may ask for what, and bounds on each client."""
