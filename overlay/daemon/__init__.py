"""The router process: start and stop, the control API, reports and metrics."""
