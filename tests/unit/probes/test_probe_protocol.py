"""Commands of a probe agent and the grid of its schedule."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.contracts.lab import Probe
from lab.contracts.probe import AgentCommand, decode_command, encode_command, first_due, key_of, phase_of, seeded_phase
from lab.probes.kinds.icmp import checksum


def probe(**more: object) -> Probe:
    fields: dict[str, object] = {
        "probe": "icmp",
        "container": "svc1",
        "source": "svc1",
        "target": "svc2",
        "address": "10.0.1.2",
        "every": 200_000_000,
        "timeout": 1_000_000_000,
    }
    return Probe(**(fields | more))  # type: ignore[arg-type]


def test_commands_survive_the_wire() -> None:
    command = AgentCommand(add=(probe(netns="/proc/7/ns/net"),), remove=(("dns", "a", "b"),), stop=True)
    assert decode_command(encode_command(command)) == command


@pytest.mark.parametrize("line", [b"", b"[]", b'{"adds":[]}', b'{"add":[{"probe":"icmp"}]}', b'{"remove":[["a"]]}'])
def test_what_is_no_command_is_refused(line: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode_command(line)


@given(st.integers(1, 10**10), st.integers(0, 10**12), st.integers(0, 10**18))
def test_the_grid_does_not_depend_on_when_it_was_entered(every: int, first: int, now: int) -> None:
    one = probe(every=every, first=first)
    due = first_due(one, now)
    assert now <= due < now + every
    assert due % every == phase_of(one)
    assert first_due(one, due + 1) == due + every


def test_phases_of_seeds_and_series_have_nothing_to_do_with_each_other() -> None:
    every = 200_000_000
    one, other = ([seeded_phase(seed, ("icmp", name, "b"), every) for seed in range(400)] for name in "ac")
    for phases in (one, other, [(a - b) % every for a, b in zip(one, other, strict=True)]):
        assert len(set(phases)) == 400 and all(0 <= phase <= every for phase in phases)
        assert min(sum(phase * 4 // every == quarter for phase in phases) for quarter in range(4)) > 60
    assert seeded_phase(1, ("icmp", "a", "b"), every) == one[1] > 0, "0 would be none"


def test_probes_spread_over_their_interval() -> None:
    phases = [phase_of(probe(source=f"a{i}", target=f"b{i}")) for i in range(400)]
    quarters = [sum(phase * 4 // 200_000_000 == quarter for phase in phases) for quarter in range(4)]
    assert min(quarters) > 60
    assert key_of(probe()) == ("icmp", "svc1", "svc2")


def test_checksum_is_the_one_of_rfc_1071() -> None:
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == ~0xDDF2 & 0xFFFF
    with_sum = bytes.fromhex("0001f203f4f5f6f7") + (~0xDDF2 & 0xFFFF).to_bytes(2, "big")
    assert checksum(with_sum) == 0
