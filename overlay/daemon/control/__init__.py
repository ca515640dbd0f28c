"""The control API of a running daemon, on its unix socket and on 127.0.0.1:6784.

Each concept has a file of plain typed functions and the routes that call them. `table` collects the routes and finds
the route for a method and path. `server` serves the table over HTTP; a simulated host calls it directly.
"""
