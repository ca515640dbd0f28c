"""Hosts as virtual machines: real kernels, real boots, real Docker Engines.

backend   the order in which such a lab comes up and goes down, and what it refuses
host      one machine as the runner sees it
guest     the lab's connection to a machine: one ssh connection that carries everything
agent     runs inside a machine and executes the lab's requests
machines  the machines: booted by Vagrant, reached by the ssh configuration that it writes
libvirt   the lab's own libvirtd, in the lab's namespaces
"""

import logging

# On import without Vagrant, python-vagrant warns on standard error; suppress it, because `VagrantMachines.refuse`
# reports it.
logging.getLogger("vagrant").addHandler(logging.NullHandler())
