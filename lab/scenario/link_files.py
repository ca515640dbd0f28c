"""What links take from files next to the scenario: measured delays, Mahimahi's packet deliveries, columns of
parameters.

Owns the formats and what is wrong with a file, with its line. A file's data takes the place of its name when the
scenario is read, so that a run can be played again without the file. Text in, plain data out; `with_link_files` reads.
"""

import csv
import io
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any
from zlib import compress, decompressobj
from zlib import error as ZlibError

from msgspec import Struct
from pydantic import ValidationError

from lab.errors import LabError
from lab.links import Deliveries
from lab.links.jitter import table_of
from lab.named_file import read_named
from lab.scenario.base import Problem, Written, show
from lab.scenario.link_spec import DISTRIBUTIONS, LinkSpec
from lab.scenario.values import UNITS, parse_duration

__all__ = [
    "LinkFileError",
    "Row",
    "Track",
    "delays_of",
    "make_links_portable",
    "packed",
    "track_of",
    "unpacked",
    "with_link_files",
]

_LARGEST = 32 << 20
_MOST_LINES = 1_000_000
_SHORTEST = 10 * UNITS["ms"]
"""Between two rows: a real host's links cannot be changed more often."""
_COLUMNS = (
    "delay",
    "jitter",
    "correlation",
    "loss",
    "loss_correlation",
    "duplicate",
    "reorder",
    "corrupt",
    "rate",
    "mtu",
)
_NUMBER = re.compile(r"\d{1,12}(\.\d{1,9})?")


class LinkFileError(LabError):
    """What is wrong with the text of such a file; begins with the line."""


class Row(Struct, frozen=True):
    """From a moment on (ns), these parameters."""

    at: int
    values: Mapping[str, Any]
    """Names of `Link`'s fields -> values."""


class Track(Struct, frozen=True):
    """What a link does over time: rows of parameters, or deliveries of packets."""

    rows: tuple[Row, ...] = ()
    times: tuple[int, ...] = ()
    """When a packet may leave (ns)."""

    @property
    def period(self) -> int:
        """After which it may begin again (ns); 0: it has but one row. Its last row lasts as long as the one before."""
        if self.times:
            return self.times[-1]
        return 2 * self.rows[-1].at - self.rows[-2].at if len(self.rows) > 1 else 0

    def deliveries(self, *, loop: bool) -> Deliveries:
        """Of a Mahimahi trace."""
        return Deliveries(times=self.times, period=self.period if loop else 0)


@lru_cache(maxsize=8)
def track_of(text: str) -> Track:
    """A Mahimahi trace (one number a line) or CSV with a `time` column; raises `LinkFileError`.

    Cached, because a trace is asked for when its file is read, when its step is validated, and when it is played."""
    first = next((line for line in text.splitlines() if line.strip() and not line.startswith("#")), "")
    if not first:
        raise LinkFileError("line 1: found an empty file, expected a Mahimahi trace, or CSV with a column `time`")
    return _mahimahi(text) if re.fullmatch(r"\s*-?\d+\s*", first) else _columns(text)


def _mahimahi(text: str) -> Track:
    times: list[int] = []
    for number, line in _lines(text):
        if not re.fullmatch(r"\d{1,9}", line):
            raise LinkFileError(
                f"line {number}: found {show(line)}, expected milliseconds: a whole number of 0 or more"
            )
        if times and int(line) * UNITS["ms"] < times[-1]:
            raise LinkFileError(
                f"line {number}: found {line}, expected {times[-1] // UNITS['ms']} or more: times go on"
            )
        times.append(int(line) * UNITS["ms"])
    if not times[-1]:
        raise LinkFileError("found 0 in every line, expected a trace that lasts 1 ms or more")
    return Track(times=tuple(times))


def _columns(text: str) -> Track:
    reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True)
    names: list[str] = []
    rows: list[Row] = []
    try:
        for cells in reader:
            number = reader.line_num
            if number > _MOST_LINES:
                raise LinkFileError(f"line {number}: found more lines than expected: at most {_MOST_LINES:,}")
            if not any(cell.strip() for cell in cells) or cells[0].startswith("#"):
                continue
            if not names:
                names = _header(number, [cell.strip() for cell in cells])
                continue
            if len(cells) != len(names):
                raise LinkFileError(f"line {number}: found {len(cells)} columns, expected {len(names)} as in the head")
            row = _row(number, dict(zip(names, map(str.strip, cells), strict=True)))
            if rows and row.at < rows[-1].at + _SHORTEST:
                raise LinkFileError(f"line {number}: found a row within 10 ms of the one before, expected later ones")
            # An empty cell says nothing: what a row before says of that column goes on.
            rows.append(Row(row.at, {**rows[-1].values, **row.values}) if rows else row)
    except csv.Error as error:
        raise LinkFileError(f"line {reader.line_num}: found no CSV ({error})") from None
    if not rows:
        raise LinkFileError("found no rows, expected at least one below the head")
    return Track(rows=tuple(rows))


def _header(number: int, names: list[str]) -> list[str]:
    for name in names:
        if name != "time" and name not in _COLUMNS:
            raise LinkFileError(f"line {number}: found a column {show(name)}, expected time, {', '.join(_COLUMNS)}")
    if names.count("time") != 1 or len(set(names)) != len(names) or len(names) < 2:
        raise LinkFileError(f"line {number}: found {', '.join(names)}, expected `time` and parameters, each once")
    return names


def _row(number: int, cells: dict[str, str]) -> Row:
    text = cells.pop("time")
    try:
        at = _seconds(text) if _NUMBER.fullmatch(text) else parse_duration(text)
    except ValueError:
        raise LinkFileError(f"line {number}: time: found {show(text)}, expected seconds (1.5) or a duration") from None
    said = {name: cell for name, cell in cells.items() if cell}
    try:
        values = LinkSpec.model_validate({name: _plain(cell) for name, cell in said.items()}).values()
    except ValidationError as error:
        item = error.errors(include_url=False)[0]
        name = str(item["loc"][0]) if item["loc"] else ""
        message = str(item["msg"])
        raise LinkFileError(f"line {number}: {name}: found {show(said.get(name, ''))}, {message}") from None
    return Row(at, values)


def _plain(cell: str) -> Any:
    return 0 if cell == "0" else cell


def _seconds(text: str) -> int:
    whole, _, part = text.partition(".")
    return int(whole) * UNITS["s"] + int(part.ljust(9, "0") or "0")


def delays_of(text: str) -> tuple[tuple[int, ...], int, int]:
    """Table, mean and deviation of a file of delays, one a line: a duration (`12ms`), or milliseconds (`12.3`)."""
    delays: list[int] = []
    for number, line in _lines(text):
        try:
            delays.append(_seconds(line) // 1000 if _NUMBER.fullmatch(line) else parse_duration(line))
        except ValueError:
            raise LinkFileError(
                f"line {number}: found {show(line)}, expected a delay: milliseconds (12.3) or a duration (12ms)"
            ) from None
    table, mean, deviation = table_of(delays)
    if not table:
        raise LinkFileError("found the same delay in every line, expected delays that differ: they are the jitter")
    return table, mean, deviation


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines that are neither empty nor comments, with their numbers; at least one."""
    found = 0
    for number, line in enumerate(text.splitlines(), 1):
        if number > _MOST_LINES:
            raise LinkFileError(f"line {number}: found more lines than expected: at most {_MOST_LINES:,}")
        if (bare := line.strip()) and not bare.startswith("#"):
            found += 1
            yield number, bare
    if not found:
        raise LinkFileError("line 1: found an empty file, expected at least one line")


def packed(text: str) -> str:
    """A file's text as it stands in a resolved scenario."""
    return b64encode(compress(text.encode(), 9)).decode()


def unpacked(data: str) -> str:
    """The text again; raises `LinkFileError`. What it unpacks to has a bound: a stored run may be a stranger's."""
    try:
        unpacker = decompressobj()
        text = unpacker.decompress(b64decode(data, validate=True), _LARGEST).decode()
        if not unpacker.eof:
            raise ValueError("too long")
    except (ValueError, ZlibError):
        raise LinkFileError("found no data of a trace, expected what a run has stored") from None
    return text


# --- in a scenario ----------------------------------------------------------------------------------------------------


def with_link_files(plain: dict[str, Any], folder: Path) -> tuple[dict[str, Any], list[Problem]]:
    """The scenario with the data of the files that links and steps name in their place, and what is wrong with these.

    The timeline's loops are written out already. A step that has its data, of a session that was saved, keeps it."""
    reading = _Reading(folder)
    underlay, timeline = plain.get("underlay"), plain.get("timeline")
    if isinstance(underlay, dict) and isinstance(links := underlay.get("links"), dict):
        found = {key: reading.link(("underlay", "links", key), spec) for key, spec in links.items()}
        plain = {**plain, "underlay": {**underlay, "links": found}}
    if isinstance(timeline, tuple):
        plain = {**plain, "timeline": tuple(reading.step(("timeline", n), step) for n, step in enumerate(timeline))}
    return plain, reading.problems


def make_links_portable(plain: dict[str, Any], folder: Path) -> None:
    """Make the names of such files in a valid scenario of `folder` absolute, those in its loops too."""

    def name_whole(body: Any, key: str) -> None:
        name = _text(body.get(key)) if isinstance(body, dict) else None
        if isinstance(name, str) and name not in DISTRIBUTIONS and "$" not in name:
            body[key] = str((folder / name).absolute())

    def walk(steps: Any) -> None:
        for step in steps or ():
            name_whole(step.get("link"), "distribution")
            name_whole(step.get("trace"), "file")
            for loop in ("repeat", "for_each"):
                if isinstance(step.get(loop), dict):
                    walk(step[loop].get("steps"))

    for spec in (plain["underlay"].get("links") or {}).values():
        name_whole(spec, "distribution")
    walk(plain.get("timeline"))


class _Reading:
    """Reads each file once."""

    def __init__(self, folder: Path) -> None:
        self.problems: list[Problem] = []
        self._folder = folder
        self._texts: dict[str, str | LinkFileError] = {}

    def step(self, where: tuple[str | int, ...], step: Any) -> Any:
        if not isinstance(step, dict):
            return step
        if isinstance(body := step.get("link"), dict):
            return {**step, "link": self.link((*where, "link"), body)}
        body = step.get("trace")
        if isinstance(body, dict) and isinstance(name := _text(body.get("file")), str) and "data" not in body:
            return {**step, "trace": self._trace((*where, "trace", "file"), body, name)}
        return step

    def link(self, where: tuple[str | int, ...], spec: Any) -> Any:
        name = _text(spec.get("distribution")) if isinstance(spec, dict) else None
        if not isinstance(name, str) or name in DISTRIBUTIONS or "table" in spec:
            return spec
        try:
            table, mean, deviation = delays_of(self._text(name))
        except LinkFileError as error:
            self.problems.append(Problem((*where, "distribution"), f"{name!r}", _expected(error)))
            return {key: value for key, value in spec.items() if key != "distribution"}
        measured = {"delay": f"{mean}ns", "jitter": f"{deviation}ns"}
        return {**measured, **spec, "distribution": "table", "table": table}

    def _trace(self, where: tuple[str | int, ...], body: dict[str, Any], name: str) -> dict[str, Any]:
        try:
            text = self._text(name)
            track_of(text)
        except LinkFileError as error:
            self.problems.append(Problem(where, f"{name!r}", _expected(error)))
            text = "1\n"  # so that nothing else is said of it
        return {**body, "data": packed(text)}

    def _text(self, name: str) -> str:
        if name not in self._texts:
            self._texts[name] = _read(self._folder / name)
        found = self._texts[name]
        if isinstance(found, LinkFileError):
            raise found
        return found


def _expected(error: LinkFileError) -> str:
    return f"a file that can be used: {error}"


def _text(value: Any) -> Any:
    return value.text if isinstance(value, Written) else value


def _read(path: Path) -> "str | LinkFileError":
    try:
        if not path.is_file():
            return LinkFileError("no such file" if not path.exists() else "it is no file")
        if path.stat().st_size > _LARGEST:
            return LinkFileError(f"it has more than {_LARGEST >> 20} MiB")
        return read_named(path).decode("utf-8-sig")
    except OSError as error:
        return LinkFileError(f"it cannot be read ({error.strerror})")
    except UnicodeDecodeError:
        return LinkFileError("it is not UTF-8 text")
