"""Hosts in virtual time: engine, daemon, commands and probes of the `sim` backend, around `lab.sim`'s world.

Importing this package enables compiled cores if there are any (`lab.compiled`). It must be imported before any core.
"""

from lab.compiled.loading import use

use()
