"""The way back from a resolved scenario's plain data (`Resolved.to_json`, as a history begins with it) to a `Resolved`.

So a stored run can be played again without the file that it was made from. Pure; raises `LabError` for data that no
`Resolved` has written.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from pydantic import ValidationError

from lab.calibration import Calibration
from lab.errors import LabError
from lab.links import Burst, Distribution, Link, Links, QueueLimit
from lab.links.topology import RoutedTopology, TopologyEdge
from lab.scenario.base import frozen
from lab.scenario.resolve import REGION, HostSpec, MachineCost, ProbePlan, Resolved, RouterSpec, ServiceSpec
from lab.scenario.steady import SteadyCondition
from lab.scenario.steps import Step, step_model
from lab.scenario.values import RESOLVED

__all__ = ["from_json", "link_values", "links_from_json", "topology_from_json"]


def from_json(data: Mapping[str, Any]) -> Resolved:
    """What `data` was made from. Raises `LabError`."""
    try:
        underlay = data["underlay"]
        hosts = {
            name: msgspec.convert({key: value for key, value in spec.items() if key != "address"}, HostSpec)
            for name, spec in underlay["hosts"].items()
        }
        return Resolved(
            name=data["name"],
            question=data["question"],
            file=data["file"],
            seed=data["seed"],
            networks={name: network["subnet"] for name, network in underlay["networks"].items()},
            hosts=hosts,
            routers=msgspec.convert(underlay["routers"], dict[str, RouterSpec]),
            links=links_from_json(underlay["links"], underlay.get("regions", {})),
            edges=tuple((a, b) for a, b in underlay["edges"]) if "edges" in underlay else None,
            topology=topology_from_json(underlay["topology"]) if "topology" in underlay else None,
            overlay=data["overlay"]["kind"],
            options=dict(data["overlay"]["options"]),
            services=msgspec.convert(data["services"], dict[str, ServiceSpec]),
            probes=msgspec.convert(data["probes"], tuple[ProbePlan, ...]),
            steady=msgspec.convert(data.get("steady", ()), tuple[SteadyCondition, ...]),
            timeline=_steps(data["timeline"]),
            pace=data.get("pace", 1),
            model=msgspec.convert(data.get("model", {}), Calibration),
            notes=tuple(map(str, data.get("notes", ()))),
            machine=msgspec.convert(underlay["machine"], MachineCost) if "machine" in underlay else None,
        )
    except (KeyError, TypeError, ValueError, AttributeError, msgspec.MsgspecError, ValidationError) as error:
        raise LabError(f"this is no resolved scenario of this version: {type(error).__name__}: {error}") from None


def links_from_json(entries: Iterable[Mapping[str, Any]], regions: Mapping[str, str]) -> Links:
    """The links of an underlay. Raises `KeyError`, `TypeError` or `ValueError` for entries that are none."""
    default = Link()
    pairs: dict[tuple[str, str], Link] = {}
    regional: dict[tuple[str, str], Link] = {}
    for entry in entries:
        ends = entry["from"], entry["to"]
        link = Link(**link_values({key: value for key, value in entry.items() if key not in ("from", "to")}))
        if ends == ("*", "*"):
            default = link
        elif all(end.startswith(REGION) for end in ends):
            regional[ends[0].removeprefix(REGION), ends[1].removeprefix(REGION)] = link
        else:
            pairs[ends] = link
    return Links(default, pairs, dict(regions), regional)


def topology_from_json(plain: Mapping[str, Any]) -> RoutedTopology:
    """A topology and the places of hosts. Raises as `links_from_json`."""
    edges = []
    for entry in plain["edges"]:
        rest = {key: value for key, value in entry.items() if key not in ("from", "to", "weight")}
        edges.append(TopologyEdge(entry["from"], entry["to"], Link(**link_values(rest)), entry["weight"]))
    return RoutedTopology(tuple(plain["nodes"]), tuple(edges), dict(plain["places"]))


def link_values(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of a link, by the names of `Link`'s fields, from plain data. Raises as `links_from_json`."""
    values = dict(plain)
    if "distribution" in values:
        values["distribution"] = Distribution(values["distribution"])
    if values.get("burst") is not None:
        values["burst"] = Burst(**values["burst"])
    if values.get("queue") is not None:
        values["queue"] = QueueLimit(**values["queue"])
    if "table" in values:
        values["table"] = tuple(values["table"])
    return values


def _steps(entries: Iterable[Mapping[str, Any]]) -> tuple[Step, ...]:
    steps = [_plain_step(entry) for entry in entries]
    model = step_model(steps)
    return tuple(model.model_validate(step, context=RESOLVED) for step in steps)


def _plain_step(entry: Mapping[str, Any]) -> dict[str, Any]:
    verb = entry["verb"]
    body = frozen(entry[verb])
    step: dict[str, Any] = {verb: body}
    if entry.get("at") is not None:
        step["at"] = entry["at"]
    # The duration stands at the top also where the file has it in the verb's body.
    if entry.get("for") is not None and not (isinstance(body, dict) and "for" in body):
        step["for"] = entry["for"]
    if "on_failure" in entry:
        step["on_failure"] = entry["on_failure"]
    return step
