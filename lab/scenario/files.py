"""What a scenario takes from other files: its topology's graph, and archives of images.

Owns where such files are looked for (next to the scenario) and what is wrong with them. Knows nothing of the rest of a
scenario: it works on the plain mapping, before the model checks it.
"""

import io
from pathlib import Path
from typing import Any

from lab.errors import LabError
from lab.images.archive import names_in
from lab.scenario.base import Note, Problem
from lab.scenario.graph_files import GraphFileError, underlay_of
from lab.scenario.link_files import make_links_portable
from lab.scenario.yaml import editor

_ARCHIVES = (".tar", ".tar.gz", ".tgz")


def with_files(plain: dict[str, Any], folder: Path) -> tuple[dict[str, Any], list[Problem], list[Note]]:
    """The scenario with what the files that it names say, what is wrong with these files, and what is worth knowing."""
    notes: list[Note] = []
    plain, wrong = _with_graph(plain, folder, notes)
    plain, faults = _with_images(plain, folder)
    return plain, [*([] if wrong is None else [wrong]), *faults], notes


def make_portable(plain: dict[str, Any], folder: Path) -> None:
    """Make the names of other files in a valid scenario of `folder` absolute, so that it can stand elsewhere."""
    underlay = plain["underlay"]
    if isinstance(underlay.get("file"), str):
        underlay["file"] = str((folder / underlay["file"]).absolute())
    make_links_portable(plain, folder)
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
    name = underlay.get("file") if isinstance(underlay, dict) else None
    if not isinstance(underlay, dict) or not isinstance(name, str) or not name:
        return plain, None
    where = ("underlay", "file")
    for key in ("generate", "edges"):
        if key in underlay:
            return plain, Problem(where, f"`file` together with `{key}`", "one or the other")
    try:
        found, told = underlay_of(folder / name)
    except GraphFileError as error:
        return plain, Problem(where, repr(name), str(error))
    notes += (Note(where, text) for text in told)
    merged = dict(underlay)
    for key, value in found.items():
        own = underlay.get(key)
        merged[key] = {**value, **own} if isinstance(value, dict) and isinstance(own, dict) else own or value
    return {**plain, "underlay": merged}, None


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
