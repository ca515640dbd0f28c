"""Hosts in virtual time: engine, daemon, commands and probes of the `sim` backend, around `lab.sim`'s world.

A process that has imported this runs compiled cores where there are any (`lab.compiled`): here, before any core is
imported.
"""

from lab.compiled.loading import use

use()
