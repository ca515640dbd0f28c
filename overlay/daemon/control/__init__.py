"""The control API: what a running daemon is asked, on its unix socket and on 127.0.0.1:6784.

Each concept has a file of plain typed functions and the routes that call them. `table` puts the routes together and
finds the one for a method and path, `server` serves it by HTTP; a simulated host calls it directly.
"""
