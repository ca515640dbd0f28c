"""The router's process: start and end, the control API, reports and metrics."""
