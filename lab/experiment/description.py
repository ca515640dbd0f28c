"""The experiment file: from YAML to a checked, frozen `Experiment`, or one error message for each fault.

Owns the keys, their meaning and their valid combinations. `lab.sweep.grid` knows whether a factor is a path of the
scenario; it checks that before anything runs.
"""

import re
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from lab.errors import LabError
from lab.scenario.base import Written, listed, show
from lab.scenario.check import nearest
from lab.scenario.load import ScenarioError, text_of
from lab.scenario.load import question as question_of
from lab.scenario.packaged import named
from lab.scenario.yaml import locate, read_yaml
from lab.sweep.columns import numeric
from lab.sweep.groups import FIGURE_OF, TRAFFIC
from lab.sweep.measure import TIMES

__all__ = ["Experiment", "ExperimentFile", "FilePart", "Hypothesis", "Precision", "Range", "Sobol", "read_experiment"]

MOST_CELLS = 10_000
_FIGURE = re.compile(rf"{FIGURE_OF}:[A-Za-z_][A-Za-z0-9_]*")
_OUTCOME = re.compile(r"(?:([a-z_]+(?:-[0-9]+)?):)?([a-z_]+)")
Text = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Values = dict[str, str]


class FilePart(BaseModel):
    """A part of such a file: frozen, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Range(FilePart):
    """A factor of a Sobol design: all values from `from` to `to`."""

    start: Text = Field(alias="from")
    end: Text = Field(alias="to")
    scale: Literal["linear", "log"] = "linear"

    @model_validator(mode="after")
    def _numbers(self) -> "Range":
        found = numeric((self.start, self.end))
        if found is None:
            raise ValueError(f"expected two numbers of one unit, found {self.start} and {self.end}")
        low, high = (found[1][text] for text in (self.start, self.end))
        if low >= high:
            raise ValueError(f"expected `from` below `to`, found {self.start} and {self.end}")
        if self.scale == "log" and low <= 0:
            raise ValueError(f"expected `from` above 0 for `scale: log`, found {self.start}")
        return self


class Sobol(FilePart):
    """Sobol's sequence after Saltelli: `samples` (a power of two) times the number of factors plus 2 assignments."""

    samples: Annotated[int, Field(ge=2, le=4096)]
    seed: Annotated[int, Field(ge=0, lt=1 << 32)] = 1

    @model_validator(mode="after")
    def _power(self) -> "Sobol":
        if self.samples & (self.samples - 1):
            raise ValueError(f"expected `samples` to be a power of two, found {self.samples}")
        return self


class Seeds(FilePart):
    """How many seeds each assignment gets; all get the same ones, so that runs of equal seeds are pairs."""

    first: Annotated[int, Field(ge=0, lt=1 << 62)] = 1
    at_least: Annotated[int, Field(ge=2, le=100_000)] = 20
    at_most: Annotated[int, Field(ge=2, le=100_000)] = 200
    step: Annotated[int, Field(ge=1, le=100_000)] = 10

    @model_validator(mode="after")
    def _order(self) -> "Seeds":
        if self.at_most < self.at_least:
            raise ValueError(f"expected `at_most` not below `at_least`, found {self.at_most} and {self.at_least}")
        return self


class Precision(msgspec.Struct, frozen=True):
    """The maximum width of a 95 % interval, from end to end: relative to the estimate, or in seconds or counts."""

    relative: float | None = None
    absolute: float | None = None

    @property
    def words(self) -> str:
        """In words, for use in a sentence."""
        return f"{100 * self.relative:.3g} % of the median" if self.relative is not None else f"{self.absolute:g}"


class Hypothesis(FilePart):
    """What is expected of two settings, written down before the first run."""

    id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,31}$")]
    claim: Text
    compare: tuple[Values, Values]
    """The settings A and B, by factors; factors that are not named are equal on both sides."""
    expect: Literal["less", "more", "differ", "alike"]
    """Of B, measured by A."""
    outcome: str = ""
    margin: Annotated[float, Field(gt=1, le=100)] | None = None

    @model_validator(mode="after")
    def _sense(self) -> "Hypothesis":
        a, b = self.compare
        if a.keys() != b.keys() or not a:
            raise ValueError("expected the same factors in both settings of `compare`")
        if a == b:
            raise ValueError("expected two settings that differ in `compare`")
        if self.expect == "alike" and self.margin is None:
            raise ValueError("expected a `margin` for `alike`: the factor within which two medians count as alike")
        return self


class Experiment(FilePart):
    """The whole file."""

    experiment: Literal["1"]
    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    scenario: Text
    backend: Text = "sim"
    factors: dict[str, tuple[Text, ...] | Range]
    design: Literal["grid"] | dict[Literal["sobol"], Sobol] = "grid"
    seeds: Seeds = Seeds()
    primary: Text
    others: tuple[Text, ...] = ()
    precision: Text = "20%"
    hypotheses: tuple[Hypothesis, ...] = ()

    @property
    def sobol(self) -> Sobol | None:
        """The design, if it is one of Sobol's."""
        return self.design["sobol"] if isinstance(self.design, dict) else None

    @property
    def asked(self) -> Precision:
        """`precision`, as numbers."""
        end, values = numeric((self.precision,)) or ("", {})
        value = values[self.precision]
        return Precision(relative=value) if end == "_fraction" else Precision(absolute=value)

    @property
    def outcomes(self) -> tuple[str, ...]:
        """The primary one first."""
        return tuple(dict.fromkeys((self.primary, *self.others, *(h.outcome for h in self.hypotheses if h.outcome))))


class ExperimentFile(msgspec.Struct, frozen=True, kw_only=True):
    """An experiment with its file and its scenario."""

    path: Path
    experiment: Experiment
    question: str
    scenario: Path
    text: str
    scenario_text: str

    @property
    def plan_digest(self) -> str:
        """Digest of everything that determines the runs: the whole file except the hypotheses, and the scenario."""
        plain = self.experiment.model_dump(mode="json", by_alias=True, exclude={"hypotheses"})
        return _digest([plain, self.scenario_text])

    @property
    def hypotheses_digest(self) -> str:
        """Digest of the hypotheses."""
        return _digest([one.model_dump(mode="json", by_alias=True) for one in self.experiment.hypotheses])


def split_outcome(outcome: str) -> tuple[str, str]:
    """`heal:overall` as (event, metric); an empty event means the whole run."""
    event, _, metric = outcome.rpartition(":")
    return event, metric


def read_experiment(path: Path) -> ExperimentFile:
    """Read and check a file; raises `LabError` with one line for each fault."""
    try:
        text = text_of(path)
    except ScenarioError as error:
        raise LabError(str(error)) from None
    found = read_yaml(text)
    if found.problems:
        raise LabError("\n".join(f"{path}:{p.line}:{p.column}: {p}" for p in found.problems))
    plain = _typed(found.plain)
    if not isinstance(plain, dict):
        raise LabError(f"{path}: found {show(found.plain)}, expected an experiment: a mapping with `experiment: 1`")
    plain.setdefault("name", path.name.partition(".")[0])
    try:
        experiment = Experiment.model_validate(plain)
        faults = list(_faults(experiment))
    except ValidationError as error:
        faults = [_said(each) for each in error.errors()]
    if faults:
        lines = []
        for where, words in faults:
            line, column = locate(found.tree, where)
            lines.append(f"{path}:{line}:{column}: {_dotted(where)}: {words}")
        raise LabError("\n".join(lines))
    near = path.parent / experiment.scenario
    scenario = near if near.is_file() else named(experiment.scenario)
    try:
        scenario_text = text_of(scenario)
    except ScenarioError as error:
        raise LabError(f"{path}: scenario: {error}") from None
    return ExperimentFile(path=path, experiment=experiment, question=question_of(text), scenario=scenario, text=text,
                          scenario_text=scenario_text)  # fmt: skip


def _faults(found: Experiment) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Check the constraints between parts of the file."""
    if not found.factors:
        yield ("factors",), "found none, expected a path of the scenario with its values"
    cells = 1
    for path, values in found.factors.items():
        where: tuple[str | int, ...] = ("factors", path)
        if found.sobol is not None and not isinstance(values, Range):
            yield where, "found a list, expected {from, to} for `design: sobol`"
        elif found.sobol is None and isinstance(values, Range):
            yield where, "found {from, to}, expected a list of values for `design: grid`"
        elif not isinstance(values, Range):
            cells *= max(len(values), 1)
            twice = [value for at, value in enumerate(values) if value in values[:at]]
            if not values or twice:
                yield where, f"found {twice[0]} twice" if twice else "found no value, expected a list of them"
    if cells > MOST_CELLS:
        yield ("factors",), f"found {cells:,} combinations, expected at most {MOST_CELLS:,}"
    for key, outcome in (("primary", found.primary), *(("others", one) for one in found.others)):
        if why := _wrong_outcome(outcome):
            yield (key,), why
    if numeric((found.precision,)) is None or not (found.asked.relative or found.asked.absolute or 0) > 0:
        yield ("precision",), f"found {found.precision!r}, expected a part of the median as 20%, or a time as 50ms"
    ids = [one.id for one in found.hypotheses]
    for at, one in enumerate(found.hypotheses):
        where = ("hypotheses", at)
        if ids.index(one.id) != at:
            yield (*where, "id"), f"found {one.id} twice"
        if one.outcome and (why := _wrong_outcome(one.outcome)):
            yield (*where, "outcome"), why
        for side in one.compare:
            for path, value in side.items():
                known = found.factors.get(path)
                if known is None:
                    yield (*where, "compare"), f"found {path!r}, expected a factor: {listed(found.factors)}"
                elif isinstance(known, Range):
                    yield (*where, "compare"), "found a hypothesis on a factor of a Sobol design, expected a grid"
                elif value not in known:
                    yield (*where, "compare"), f"found {path}={value}, expected one of {listed(known)}"


def _wrong_outcome(outcome: str) -> str:
    match = _OUTCOME.fullmatch(outcome)
    known = (*TIMES, *TRAFFIC) if match and match[1] else TRAFFIC
    if (match and match[2] in known) or _FIGURE.fullmatch(outcome):
        return ""
    hint = nearest(match[2] if match else outcome, (*TIMES, *TRAFFIC))
    return (
        f"found {outcome!r}, expected EVENT:METRIC as heal:overall, with a metric of {listed((*TIMES, *TRAFFIC))}, "
        f"of whole runs {listed(TRAFFIC)}, or of a protocol figure:NAME" + (f"; {hint}" if hint else "")
    )


def _said(error: Any) -> tuple[tuple[str | int, ...], str]:
    """One validation error of the model, in words."""
    where = tuple(part for part in error["loc"] if part not in ("tuple[str,...]", "Range"))
    where = tuple(part for part in where if not (isinstance(part, str) and part.startswith(("tuple[", "dict["))))
    kind = error["type"]
    if kind == "extra_forbidden":
        hint = nearest(str(where[-1]), _KEYS)
        return where, f"found the key {where[-1]!r}, which means nothing here" + (f"; {hint}" if hint else "")
    if kind == "missing":
        return where[:-1], f"found no `{where[-1]}`, expected one"
    text = str(error["msg"]).removeprefix("Value error, ")
    return where, text if "found" in text or "expected" in text else f"found {show(error['input'])}: {text}"


_KEYS = [name for part in (Experiment, Range, Sobol, Seeds, Hypothesis) for name in
         (field.alias or key for key, field in part.model_fields.items())]  # fmt: skip


def _typed(value: Any) -> Any:
    """The plain form, with every number as typed."""
    if isinstance(value, Written):
        return value.text
    if isinstance(value, Mapping):
        return {str(key): _typed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_typed(item) for item in value]
    return value


def _dotted(where: tuple[str | int, ...]) -> str:
    text = ""
    for part in where:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "experiment"


def _digest(value: Any) -> str:
    return sha256(msgspec.json.encode(value, order="sorted")).hexdigest()[:16]
