"""Faults, one file per family: each brings its injector, its healer and its mark for the plots.

partition.py   who can no longer send to whom
process.py     deaths of daemons, hosts and containers
churn.py       peers that leave and join at a rate
device.py      disks and clocks that misbehave
packet_filter.py  protocols and packet sizes that do not pass
upkeep.py      what is down or disturbed while faults are in force, whoever they are; kills and starts it
"""
