"""The effect of an underlay link on packets, in one direction: one pure model for all backends.

`values` is a link as data, `table` the links of an underlay, `changes` the changes that steps make during a run,
`model` the effect of one direction on each packet (`jitter`, `loss`, `queue` are its parts). The simulator calls the
model in virtual time, the relay of real hosts for real frames; a kernel's own queues are configured from the values. No
I/O, no clock, and no randomness except the generator that a model is given.
"""

from lab.links.table import Links
from lab.links.values import TIMED, Burst, Deliveries, Distribution, Link, QueueLimit

__all__ = ["TIMED", "Burst", "Deliveries", "Distribution", "Link", "Links", "QueueLimit"]
