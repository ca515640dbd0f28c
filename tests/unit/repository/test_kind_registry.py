"""The registry of kinds: a folder's modules and other packages' entry points, and what is said of broken ones."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import invalidate_caches
from pathlib import Path

import pytest

from lab.registry import KindError, Registry


@dataclass(frozen=True)
class Colour:
    """What the tests' kinds are."""

    name: str


Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts a package with entry points (and modules) where Python finds it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def package(name: str, points: dict[str, str], **modules: str) -> None:
        about = tmp_path / f"{name.replace('-', '_')}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
        lines = [f"{key} = {value}" for key, value in points.items()]
        (about / "entry_points.txt").write_text("\n".join(["[overlay_lab.colours]", *lines]) + "\n", encoding="utf-8")
        for module, text in modules.items():
            (tmp_path / f"{module}.py").write_text(text, encoding="utf-8")
        invalidate_caches()

    folder = tmp_path / "own_colours"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "_shared.py").write_text("raise SystemExit('nobody asks for this')\n", encoding="utf-8")
    for name in ("blue", "red", "white"):
        text = f"from {__name__} import Colour\nKIND = Colour({name!r})\n"
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    yield package
    for name in set(sys.modules) - before:
        del sys.modules[name]


def colours() -> Registry[Colour]:
    """A registry that has read nothing yet."""
    return Registry("colour", Colour, "own_colours", first=("red",))


GOOD = f"from {__name__} import Colour\nGREEN = Colour('green')\n"


def test_own_and_foreign_kinds_have_one_registry_and_are_imported_when_asked_for(install: Install) -> None:
    install("many-colours", {"green": "many_green:GREEN"}, many_green=GOOD)
    registry = colours()
    assert registry.names() == ("red", "blue", "white", "green")
    assert not {"many_green", "own_colours.blue"} & set(sys.modules)
    assert registry.get("green") == Colour("green")
    assert "own_colours.blue" not in sys.modules
    assert registry.package_of("green") == "many-colours" and registry.package_of("blue") == ""
    assert [colour.name for colour in registry] == ["red", "blue", "white", "green"]
    assert registry.broken() == ()
    with pytest.raises(KindError, match=r"^no colour named 'pink', expected one of: red, blue, white, green$"):
        registry.get("pink")


@pytest.mark.parametrize(
    ("point", "value", "text", "said"),
    [
        ("green", "bad_one:GREEN", "import no_such_module_at_all", "cannot be imported (ModuleNotFoundError: "),
        ("green", "bad_one:GREEN", "GREEN = (", "cannot be imported (SyntaxError: "),
        ("green", "bad_one:GREEN", "raise SystemExit(3)", "cannot be imported (SystemExit: 3)"),
        ("green", "bad_one:GREEN", "", "cannot be imported (AttributeError: "),
        ("green", "bad_one:GREEN", "GREEN = 3", "bad_one:GREEN is of type int, expected an object of "),
        ("green", "bad_one:int", "int = int", "bad_one:int is the class int, expected an object of "),
        ("teal", "bad_one:GREEN", GOOD, "calls itself 'green', expected the same name, 'teal'"),
        ("Dark-Green", "bad_one:GREEN", GOOD, "its name is not one, expected small letters, digits and _"),
    ],
)
def test_a_broken_kind_is_told_with_its_package_and_hinders_nobody_else(
    install: Install, point: str, value: str, text: str, said: str
) -> None:
    install("bad-colours", {point: value}, bad_one=text)
    registry = colours()
    assert registry.get("blue").name == "blue"
    assert [colour.name for colour in registry] == ["red", "blue", "white"]
    (sentence,) = registry.broken()
    assert sentence.startswith(f"the colour {point!r} of the package bad-colours cannot be used: ")
    assert said in sentence and sentence.endswith("mend the package or uninstall it") and "\n" not in sentence
    with pytest.raises(KindError):
        registry.get(point)


def test_two_kinds_of_one_name_are_both_refused_and_both_named(install: Install) -> None:
    install("one-green", {"green": "many_green:GREEN"}, many_green=GOOD)
    install("other-green", {"green": "many_green:GREEN", "blue": "many_green:GREEN"})
    registry = colours()
    assert [colour.name for colour in registry] == ["red", "white"]
    for name, owners in (
        ("green", "the package one-green and by the package other-green"),
        ("blue", "the lab itself and by the package other-green"),
    ):
        with pytest.raises(KindError, match=f"^the colour '{name}' is offered by {owners}, expected one of them"):
            registry.get(name)
