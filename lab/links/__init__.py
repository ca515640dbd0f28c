"""What a link of the underlay does to packets, in one direction: one pure model for all backends.

`values` is a link as data, `table` the links of an underlay, `changes` what steps put over them while a lab runs,
`model` what one direction does to one packet after another (`jitter`, `loss`, `queue` are its parts). The simulator
calls the model in virtual time, the relay of real hosts for real frames; a kernel's own queues are set from the values.
No I/O, no clock, no randomness but the generator that a model is given.
"""

from lab.links.table import Links
from lab.links.values import TIMED, Burst, Deliveries, Distribution, Link, QueueLimit

__all__ = ["TIMED", "Burst", "Deliveries", "Distribution", "Link", "Links", "QueueLimit"]
