"""Cores keep no tables of messages: what is shared among peers is in one layer, and no daemon switches it on."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
OVERLAY = ROOT / "overlay"
LAYER = OVERLAY / "replicated" / "interned.py"
FOLDERS = ("crypto", "datapath", "dns", "ipam", "mesh", "policy", "replicated", "wire")
CORES = sorted(
    {*(path for name in FOLDERS for path in (OVERLAY / name).rglob("*.py")), *OVERLAY.glob("*.py")} - {LAYER}
)
TABLES = ("lru_cache", "cache")
ALLOWED = {
    "overlay/datapath/rows.py": "layouts of packets, by two numbers: one daemon's hot path",
    "overlay/clean.py": "escapes of single characters",
}


def tables(tree: ast.AST) -> Iterator[str]:
    """Caches by arguments or by identity."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "functools":
            yield from (name.name for name in node.names if name.name in TABLES)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "functools":
            yield from (name for name in TABLES if name == node.attr)
        elif isinstance(node, ast.Call) and any(
            isinstance(each, ast.Name) and each.id == "id" for each in (node.func, *node.args)
        ):
            yield "id()"
        elif isinstance(node, ast.Attribute) and node.attr == "__dict__":
            yield "__dict__"


@pytest.mark.parametrize("path", CORES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_core_has_no_table_of_its_own(path: Path) -> None:
    found = set(tables(ast.parse(path.read_text(encoding="utf-8"))))
    assert bool(found) == (path.relative_to(ROOT).as_posix() in ALLOWED), (
        f"{path}: found {', '.join(sorted(found)) or 'none'}; expected what is shared in {LAYER.relative_to(ROOT)}"
    )


def test_no_daemon_switches_the_layer_on() -> None:
    for path in sorted(set(OVERLAY.rglob("*.py")) - {LAYER}):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "overlay.replicated.interned":
                assert "switch" not in [name.name for name in node.names], path
            assert not (isinstance(node, ast.ImportFrom) and "interned" in [name.name for name in node.names]), path


_TWICE = """
import overlay.cli.main, overlay.daemon.daemon, overlay.node
from overlay.replicated.origin_state import origin_states
one, other = origin_states.of("a", 1, 0, 0, 0, ()), origin_states.of("a", 1, 0, 0, 0, ())
assert one == other and one is not other
"""


def test_a_daemons_process_makes_each_value_where_it_is_asked_for() -> None:
    subprocess.run([sys.executable, "-c", _TWICE], cwd=ROOT, check=True)
