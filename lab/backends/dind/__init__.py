"""Hosts as containers with a Docker Engine of their own (Docker-in-Docker), plugged into the lab's own fabric.

    DindBackend().inside(work, name=…)   run a function where a lab of this backend can be made
    DindBackend().up(scenario)           in there: hosts, their engines, images, the network between them

The engine that runs the hosts is the user's, if one answers, or one that the lab starts for itself in namespaces of
its own (`engine.py`); everything above that line is the same.
"""
