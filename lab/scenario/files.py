"""What a scenario takes from other files: its topology's graph, archives of images, programs of overlays.

Owns where such files are looked for (next to the scenario) and what is wrong with them. Knows nothing of the rest of a
scenario: it works on the plain mapping, before the model checks it.
"""

import io
from pathlib import Path
from typing import Any

from lab.errors import LabError
from lab.scenario.base import Note, Problem, Written, show
from lab.scenario.command_files import make_commands_portable, with_commands
from lab.scenario.graph_files import SUBNET, GraphFileError, read_catalogue, read_graph, underlay_of
from lab.scenario.graph_words import UNITS_OF_RATES
from lab.scenario.link_files import make_links_portable
from lab.scenario.yaml import editor

CATALOGUE = "topohub"
"""The kind of `generate` whose topologies are those of a package."""
_ARCHIVES = (".tar", ".tar.gz", ".tgz")


def with_files(plain: dict[str, Any], folder: Path) -> tuple[dict[str, Any], list[Problem], list[Note]]:
    """The scenario with what the files that it names say, what is wrong with these files, and what is worth knowing."""
    notes: list[Note] = []
    plain, wrong = _with_graph(plain, folder, notes)
    plain, faults = _with_images(plain, folder)
    plain, missing = with_commands(plain, folder)
    return plain, [*([] if wrong is None else [wrong]), *faults, *missing], notes


def make_portable(plain: dict[str, Any], folder: Path) -> None:
    """Make the names of other files in a valid scenario of `folder` absolute, so that it can stand elsewhere."""
    underlay = plain["underlay"]
    if isinstance(underlay.get("file"), str):
        underlay["file"] = str((folder / underlay["file"]).absolute())
    make_links_portable(plain, folder)
    make_commands_portable(plain, folder)
    for service in (plain.get("services") or {}).values():
        if isinstance(image := service.get("image"), str) and image.endswith(_ARCHIVES):
            service["image"] = str((folder / image).absolute())


def portable(text: str, name: str, folder: Path) -> Any:
    """The tree of a valid scenario's text, with its name and so that it can stand in another folder; comments stay."""
    tree = editor(4096).load(io.StringIO(text))
    tree.setdefault("name", name)
    make_portable(tree, folder)
    return tree


def _with_graph(plain: dict[str, Any], folder: Path, notes: list[Note]) -> tuple[dict[str, Any], Problem | None]:
    """The scenario with what its topology file says put under what it says itself, or what is wrong with the file."""
    underlay = plain.get("underlay")
    if not isinstance(underlay, dict):
        return plain, None
    name, rule = underlay.get("file"), underlay.get("generate")
    where: tuple[str, ...] = ("underlay", "file")
    wanted = 0
    said = underlay.get("units")
    units = {key: unit for key, unit in said.items() if unit in UNITS_OF_RATES} if isinstance(said, dict) else {}
    try:
        if isinstance(name, str) and name:
            if clash := next((key for key in ("generate", "topology") if key in underlay), ""):
                return plain, Problem(where, f"`file` together with `{clash}`", "one or the other")
            graph = read_graph(folder / name)
        elif isinstance(rule, dict) and rule.get("kind") == CATALOGUE:
            where, name = ("underlay", "generate"), rule.get("name")
            if (wrong := _catalogue_fault(underlay, rule)) is not None:
                return plain, wrong
            graph, wanted = read_catalogue(str(name)), _hosts_wanted(rule)
        else:
            return plain, None
        found, told = underlay_of(graph, units)
    except GraphFileError as error:
        return plain, Problem(where, repr(name), str(error))
    notes += (Note(where, text) for text in told)
    merged = {key: value for key, value in underlay.items() if key != "generate"}
    if where[1] == "generate":
        if wanted:
            merged["hosts"] = {f"host{number}": {} for number in range(1, wanted + 1)}
        if isinstance(rule, dict) and "subnet" in rule:
            merged["networks"] = {"lan": {"subnet": rule["subnet"]}}
        elif wanted > 250:
            merged["networks"] = {"lan": {"subnet": SUBNET}}
    if _others(merged.get("hosts"), found["hosts"]):
        found = {key: value for key, value in found.items() if key not in ("hosts", "edges", "networks")}
    elif merged.get("peers") == "all":
        del found["edges"]
    for key, value in found.items():
        own = merged.get(key)
        merged[key] = {**value, **own} if isinstance(value, dict) and isinstance(own, dict) else own or value
    return {**plain, "underlay": merged}, None


def _catalogue_fault(underlay: dict[str, Any], rule: dict[str, Any]) -> Problem | None:
    """What is wrong with `generate: {kind: topohub}`, whose other keys the model does not see."""
    where = ("underlay", "generate")
    if not isinstance(rule.get("name"), str) or not rule["name"]:
        return Problem(where, "no `name`", "`name`: of a topology in topohub, as sndlib/germany50")
    for key in rule:
        if key not in ("kind", "name", "hosts", "subnet"):
            return Problem((*where, key), f"`{key}` of {CATALOGUE}", "name, hosts, subnet")
    if "hosts" in rule and not 1 <= _hosts_wanted(rule) <= 100_000:
        return Problem((*where, "hosts"), show(rule["hosts"]), "a number of hosts, from 1 to 100,000")
    for key in ("topology", *(("hosts", "networks") if "hosts" in rule else ())):
        if key in underlay:
            return Problem(where, f"`generate` together with `{key}`", "one or the other")
    return None


def _hosts_wanted(rule: dict[str, Any]) -> int:
    """How many hosts a topology of the catalogue gets; 0: one at each node, or it makes no sense."""
    hosts = rule.get("hosts")
    hosts = hosts.value if isinstance(hosts, Written) else hosts
    return hosts if type(hosts) is int else 0


def _others(hosts: Any, nodes: dict[str, Any]) -> bool:
    """Whether the scenario names its hosts itself, rather than saying more of those that each node has."""
    if not isinstance(hosts, dict) or not hosts:
        return False
    return any(name not in nodes or (isinstance(host, dict) and "at" in host) for name, host in hosts.items())


def _with_images(plain: dict[str, Any], folder: Path) -> tuple[dict[str, Any], list[Problem]]:
    """The scenario with the name of its image in the place of each archive's path."""
    services = plain.get("services")
    if not isinstance(services, dict):
        return plain, []
    changed: dict[str, Any] = {}
    problems = []
    for name, service in services.items():
        if not isinstance(service, dict):
            continue
        where = ("services", name, "image")
        if "archive" in service:
            problems.append(Problem((*where[:2], "archive"), "`archive`", "`image` with the archive's path"))
        path = service.get("image")
        if not isinstance(path, str) or not path.endswith(_ARCHIVES):
            continue
        from lab.images.archive import names_in  # tarfile is slow to import, and few scenarios bring an image

        file = (folder / path).absolute()
        try:
            names = names_in(file)
        except LabError as error:
            problems.append(Problem(where, repr(path), f"an image's name, or an archive: {error}"))
            continue
        if len(names) > 1:
            found = f"{path!r}, which holds {', '.join(names)}"
            problems.append(Problem(where, found, "one image; or `lab images load` it, and the name here"))
            continue
        changed[name] = {**service, "image": names[0], "archive": str(file)}
    return {**plain, "services": {**services, **changed}}, problems
