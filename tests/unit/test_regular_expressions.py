"""Every regular expression of the project's code is linear: measured on text made to hurt it, in a process that ends.

The expressions are found in the code itself, so a new one is measured as well. One that is not written down must be
named below, with the reason why nobody else's text makes it slow.
"""

import ast
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

ROOT = Path(__file__).resolve().parents[2]
METHODS = {"match", "fullmatch", "search", "sub", "split", "findall", "finditer", "compile"}
BUILT = {
    (
        "overlay/proxy/policy.py",
        "re.sub('\\\\(\\\\?<(?=[A-Za-z_])', '(?P<', self.hostname_match)",
    ): "the administrator's own, on a name of at most 255 characters",
    ("lab/sim/shell.py", "_QUOTED"): "three kinds of quotes, none of which can begin as another does",
    ("lab/verbs/exec.py", "value"): "compiled only; matched by lab/verbs/_match.py",
}
MEASURE = r"""
import re, sys, time, msgspec
for place, pattern, flags, method in msgspec.json.decode(sys.stdin.buffer.read()):
    compiled = re.compile(pattern, flags)
    words = re.findall(r"[A-Za-z/@=:<#-]{1,20}", re.sub(r"\\x1b|\\[A-Za-z]|\(\?P?<?\w*>?", "", pattern))
    letters = sorted({*"a0 -./:\n\x1b", *(mark for mark in pattern if mark not in "^$()|?*+")})
    pumps = [*letters, *("0" + mark for mark in "-.,/ "), "a.", "- ", "1s", "::", "/v1", "[1", "{{ ", "${1", "\x1b["]
    def took(size, prefix, pump, suffix):
        text = prefix + pump * (size // len(pump)) + suffix
        start = time.perf_counter()
        getattr(compiled, method)(*(("", text) if method == "sub" else (text,)))
        return time.perf_counter() - start
    ways = [
        (took(2000, prefix, pump, suffix), prefix, pump, suffix)
        for prefix in ("", *words[:3], *(word + "a" for word in words[:1]))
        for pump in pumps
        for suffix in ("!", "\n\n!")
    ]
    for _, *way in sorted(ways, reverse=True)[:3]:
        took(1_000_000, *way)
    print(place, flush=True)
"""
"""The three texts that hurt most when they are short, then as 1 MB: with a quadratic expression that takes hours."""


def expressions(*packages: str) -> tuple[list[tuple[str, str, int, str]], list[tuple[str, str]]]:
    """(place, expression, flags, method) of each constant one, and (file, code) of those that are built."""
    constant, built = [], []
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            tree, name = ast.parse(path.read_text()), path.relative_to(ROOT).as_posix()
            calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
            for call in calls:
                of = call.func
                if not (isinstance(of, ast.Attribute) and isinstance(of.value, ast.Name) and of.value.id == "re"):
                    continue
                if of.attr not in METHODS:
                    continue
                pattern = literal(call.args[0])
                if pattern is None:
                    built.append((name, ast.unparse(call.args[0])))
                    continue
                flags = 8 if "MULTILINE" in ast.unparse(call) else 0
                flags |= 2 if "IGNORECASE" in ast.unparse(call) else 0
                for method in used(tree, call) if of.attr == "compile" else (of.attr,):
                    constant.append((f"{name}:{call.lineno}", pattern, flags, method))
    return constant, built


def literal(node: ast.expr) -> str | None:
    """The expression as it stands in the code, with a word for each piece that is put in."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(str(each.value) if isinstance(each, ast.Constant) else "word" for each in node.values)
    return None


def used(tree: ast.AST, call: ast.Call) -> set[str]:
    """What is done with a compiled expression: what is called on its name, or anything where that is not seen."""
    names = {
        ast.unparse(node.targets[0])
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and any(each is call for each in ast.walk(node.value))
    }
    found = {
        node.func.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) in names
    }
    return found & METHODS or {"fullmatch", "match"}


def test_every_expression_that_is_built_is_named() -> None:
    _, built = expressions("overlay", "lab")
    assert set(built) == set(BUILT), "name a new one in BUILT with its reason, or use lab.linear"


@pytest.mark.parametrize("package", ["overlay", "lab"])
def test_every_expression_is_linear_on_hostile_text(package: str) -> None:
    cases, _ = expressions(package)
    assert len(cases) > 20
    if package == "lab":
        from lab.scenario.base import _NAME

        cases.append(("lab/scenario/base.py", _NAME.pattern, 0, "fullmatch"))
    try:  # a generous time: on an idle machine it takes 5 s
        process = subprocess.run(
            [sys.executable, "-c", MEASURE], input=msgspec.json.encode(cases), capture_output=True, timeout=300
        )
    except subprocess.TimeoutExpired as error:
        place = [place for place, *_ in cases][len((error.stdout or b"").split())]
        raise AssertionError(f"{place}: this expression takes more than linear time") from None
    assert process.returncode == 0, process.stderr.decode()
    assert process.stdout.decode().split() == [place for place, *_ in cases]
