"""Hosts as virtual machines: real kernels, real boots, real Docker Engines.

backend   the order in which such a lab comes up and goes down, and what it refuses
host      one machine as the runner sees it
guest     the lab's way into a machine: one ssh connection that carries everything
agent     what runs inside of a machine and does what the lab asks
machines  the machines: booted by Vagrant, reached by the ssh configuration that it writes
libvirt   a libvirtd of the lab's own, in the lab's namespaces
"""

import logging

# On import without Vagrant, python-vagrant warns on standard error; suppress it, because `VagrantMachines.refuse`
# reports it.
logging.getLogger("vagrant").addHandler(logging.NullHandler())
