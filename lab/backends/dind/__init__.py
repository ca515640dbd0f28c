"""Hosts as containers with a Docker Engine each (Docker-in-Docker), connected by the lab's own fabric.

    DindBackend().inside(work, name=…)   run a function where a lab of this backend can be made
    DindBackend().up(scenario)           in there: hosts, their engines, images, the network between them

The engine that runs the hosts is the user's, if one answers, or one that the lab starts in its own namespaces
(`engine.py`); all other code is the same for both.
"""
