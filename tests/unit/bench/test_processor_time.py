"""Processor time of processes, as benchmarks read it."""

import os
import subprocess
import sys

from benchmarks.processor_time import of_all, of_ended_children, of_family

BUSY = """
import sys, time
while time.process_time() < 0.2:
    pass
sys.stdout.write("done\\n")
sys.stdout.flush()
sys.stdin.read()
"""


def test_a_child_counts_while_it_lives_and_after_its_end() -> None:
    ended, family, everything = of_ended_children(), of_family(os.getpid()), of_all()
    child = subprocess.Popen([sys.executable, "-c", BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "done\n"
    # The kernel counts in ticks of 10 ms, user and system time each.
    assert of_family(child.pid) >= 0.15
    assert of_family(os.getpid()) - family >= 0.15
    assert everything > 0 and of_all() > 0
    assert of_ended_children() - ended < 0.15
    child.communicate()
    assert of_ended_children() - ended >= 0.15
    assert of_family(os.getpid()) - family >= 0.15
    assert of_family(child.pid) == 0
