"""Which runs: parameters, seeds, and scenario files with values put in."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import LabError
from lab.scenario.load import parse
from lab.sweep.grid import Setting, assignments, parse_seeds, parse_set, variants

SCENARIOS = Path(__file__).parents[3] / "scenarios"
GENERATED = """\
# How soon does a ring agree?
version: 1
underlay:
  generate: {kind: ring, hosts: 4}   # small
  links: {default: {loss: 0%}}
overlay: weave
services: {s.one: {command: [x]}}
timeline:
  - launch: all
  - expect: {converged: all, within: 5s}
"""


def swept(text: str, *settings: str) -> list[str]:
    """The texts of all variants."""
    found = variants(text, [parse_set(s) for s in settings], file="scenarios/g.yaml", name="g", question="?")
    return [variant.text for variant in found]


def problem(*settings: str, text: str = GENERATED) -> str:
    with pytest.raises(LabError) as caught:
        swept(text, *settings)
    return str(caught.value)


def test_settings_as_typed() -> None:
    assert parse_set("topology.hosts=8,16") == Setting("topology.hosts", ("8", "16"))
    assert parse_set("a=[1,2],{b: 3, c: 4},'x,y'").values == ("[1,2]", "{b: 3, c: 4}", "'x,y'")
    for wrong in ("hosts", "=1", "a=1,,2", "a=", "a=1,1"):
        with pytest.raises(LabError, match="--set"):
            parse_set(wrong)


def test_seeds_as_typed() -> None:
    assert parse_seeds("3") == (1, 2, 3)
    assert parse_seeds("5-7,2,6") == (5, 6, 7, 2)
    for wrong in ("0", "-1", "", "7-5", "a", "1-9999999", "99999999", "1-" + "9" * 20):
        with pytest.raises(LabError, match="--seeds"):
            parse_seeds(wrong)


@given(st.lists(st.integers(0, 10**6), min_size=2, unique=True))
def test_seeds_one_by_one(seeds: list[int]) -> None:
    assert parse_seeds(",".join(map(str, seeds))) == tuple(seeds)


def test_the_grid_has_every_combination_once() -> None:
    found = assignments([Setting("a", ("1", "2")), Setting("b", ("x", "y"))])
    assert found == [(("a", one), ("b", two)) for one in "12" for two in "xy"]
    with pytest.raises(LabError, match="twice"):
        assignments([Setting("a", ("1",)), Setting("a", ("2",))])


def test_values_are_put_in_and_comments_stay() -> None:
    first, second = swept(GENERATED, "topology.hosts=8,16")
    assert "hosts: 8}   # small" in first and "hosts: 16}" in second
    assert parse(first).underlay.generate.hosts == 8  # type: ignore[union-attr]


def test_overlay_options_reach_a_short_form() -> None:
    (text,) = swept(GENERATED, "overlay.gossip_interval=500ms")
    assert parse(text).overlay.options == {"gossip_interval": "500ms"}


def test_a_path_into_lists_and_names_with_dots() -> None:
    (text,) = swept(GENERATED, "timeline[1].expect.within=9s")
    assert parse(text).timeline[1].body.within == 9_000_000_000
    (text,) = swept(GENERATED, "services.s.one.replicas=3")
    assert parse(text).services["s.one"].replicas == 3


def test_real_scenarios_can_be_swept() -> None:
    text = (SCENARIOS / "partition.yaml").read_text()
    settings = [parse_set("probes.0.every=100ms,1s"), parse_set("overlay.beat_interval=500ms,2s")]
    found = variants(text, settings, file="scenarios/partition.yaml", name="partition", question="?")
    assert len(found) == 4 and len({variant.digest for variant in found}) == 4
    assert found[0].scenario.options["beat_interval"] == "500ms"


def test_wrong_paths_name_the_nearest_word() -> None:
    assert "did you mean 'hosts'" in problem("topology.host=3")
    assert "did you mean 'gossip-interval'" in problem("overlay.gosip_interval=3s")
    assert "expected a number from 0 to 1" in problem("timeline.7.wait=3s")
    assert "use --seeds" in problem("seed=1,2")
    assert "expected one of s.one" in problem("services.other.replicas=2")
    assert "names its hosts one by one" in problem(
        "topology.hosts=3", text="version: 1\nunderlay: {hosts: {a: {}}}\ntimeline: [{launch: all}]\n"
    )


def test_wrong_values_name_their_setting() -> None:
    assert problem("topology.hosts=4,many").startswith("--set topology.hosts=many: found 'many'")
    both = problem("topology.hosts=x", "timeline.9.wait=1s")
    assert "timeline.9" in both  # places are looked at first
    assert "no valid YAML" in problem("topology.hosts={a: [}")


def test_the_digest_is_of_the_meaning() -> None:
    def digest(text: str) -> str:
        return variants(text, [], file="scenarios/g.yaml", name="g", question="?")[0].digest

    assert digest(GENERATED) == digest(GENERATED.replace("# small", "# tiny")) != digest(GENERATED.replace("4", "5"))


def test_what_launch_would_refuse_is_told_before_anything_runs() -> None:
    told = problem("overlay.gossip_interval=soon,5s", "topology.hosts=4")
    assert told.startswith(
        "--set overlay.gossip_interval=soon: found 'soon', expected a value that `weave launch` takes (--gossip-"
    )
