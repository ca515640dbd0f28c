"""When a probe is due, and how long a perfect link takes, are drawn from the run's seed: no event always meets a probe
at the same place of its interval."""

import statistics
from pathlib import Path

import lab
from lab.calibration import CALIBRATION

MS = 1_000_000
SCENARIO = Path(__file__).parents[2] / "scenarios" / "partition.yaml"
USUAL = 2 * (CALIBRATION.local_delay + CALIBRATION.base_delay)


def played(seed, out, scenario=SCENARIO):
    return lab.play(scenario, backend="sim", seed=seed, out=out)


def perfect(every="100ms", pairs=4):
    return {
        "version": 1,
        "name": "perfect",
        "underlay": {"hosts": {f"h{number}": {} for number in range(pairs)}},
        "services": {
            f"s{number}": {"image": "ksahnine/dummy-http", "args": ["x"], "host": f"h{number}"}
            for number in range(pairs)
        },
        "probes": [{"kind": "icmp", "every": every}],
        "timeline": [{"launch": "all"}, {"connect": "all"}, {"run": "all"}, {"wait": "20s"}],
    }


def test_a_heal_takes_another_time_in_each_run(tmp_path):
    heals, due = [], set()
    for seed in range(12):
        run = played(seed, tmp_path / str(seed))
        (heal,) = (change for change in run.convergence if change.what == "partition" and change.phase == "end")
        heals.append(heal.metrics["reachability"])
        first = run.samples.where(probe="http", source="svc1", target="svc3")[0]
        due.add(first.t % (200 * MS))
    assert len(set(heals)) == len(due) == 12
    assert all(0 < took <= 250 * MS for took in heals), "one interval, and what an answer takes"
    assert max(due) - min(due) > 60 * MS, "all over the interval"


def test_the_same_seed_gives_the_same_phases_and_times(tmp_path):
    one, other = (played(7, tmp_path / name, perfect(every="1s", pairs=2)) for name in "ab")
    assert list(one.samples) == list(other.samples)


def test_round_trips_over_a_perfect_link_lie_apart_as_they_were_measured(tmp_path):
    run = played(1, tmp_path, perfect())
    trips = [one.latency for one in run.samples if one.latency is not None and one.t > 5_000 * MS]
    assert len(trips) > 1000
    centiles = statistics.quantiles(trips, n=100)
    assert 0.9 < centiles[49] / USUAL < 1.1
    assert 0.6 < centiles[4] / USUAL < 0.9 and 1.1 < centiles[94] / USUAL < 1.6
    assert min(trips) > 0.5 * USUAL and max(trips) < 2 * USUAL


def test_probes_of_a_load_meet_events_at_another_place_in_each_run(tmp_path):
    base = perfect(pairs=2)
    begun = set()
    for seed in range(4):
        text = {
            **base,
            "timeline": [*base["timeline"][:3], {"load": {"from": "s1", "to": "s0", "rate": "5/s"}, "for": "1s"}],
        }
        run = played(seed, tmp_path / str(seed), text)
        begun.add(min(one.t for one in run.samples.where(probe="load")) % (200 * MS))
    assert len(begun) == 4
