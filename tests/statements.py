"""Counts the statements of `overlay/` and `lab/` here and in other commits: `python tests/statements.py [COMMIT ...]`.

A statement is a node of Python's syntax tree that is one. Strings that stand alone (docstrings), comments, blank lines
and how a line is broken do not count. Benchmarks do not count, either: they stood in `lab/bench` once.
"""

import ast
import io
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parent.parent
COUNTED = ("overlay", "lab")
BEFORE = ("e707956", "55f0d7f")
"""The last commit before the rebuilding of issue 14 began, and the last before its moves. What came between them is
issue 13's: policies, `weave check`, `make dist`, the image, systemd units, the original's words."""


def statements(source: str) -> int:
    """How many statements a module has.

    >>> statements('"Says what it is."\\nx = 1\\nif x:\\n    y = 2  # two')
    3
    """
    return sum(isinstance(node, ast.stmt) and not _is_text(node) for node in ast.walk(ast.parse(source)))


def of_sources(sources: dict[str, str]) -> Counter[str]:
    """The statements of each folder, of all modules that count."""
    found: Counter[str] = Counter()
    for name, source in sources.items():
        path = PurePosixPath(name)
        if path.parts[0] in COUNTED and path.suffix == ".py" and path.parts[:2] != ("lab", "bench"):
            found["/".join(path.parent.parts[:2])] += statements(source)
    return found


def of_tree(root: Path) -> Counter[str]:
    """What is in a checkout."""
    files = (path for top in COUNTED for path in sorted((root / top).rglob("*.py")))
    return of_sources({path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in files})


def of_commit(root: Path, commit: str) -> Counter[str]:
    """What a commit has. Raises `subprocess.CalledProcessError`."""
    packed = subprocess.run(["git", "archive", commit, *COUNTED], cwd=root, check=True, stdout=subprocess.PIPE).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        files = {each.name: archive.extractfile(each) for each in archive if each.isfile()}
        return of_sources({name: file.read().decode() for name, file in files.items() if file and name.endswith(".py")})


def table(then: dict[str, Counter[str]], now: Counter[str]) -> str:
    """All counts, folder by folder, and in all."""
    lines = ["".join((f"{'':24}", *(f"{commit[:12]:>14}" for commit in then), f"{'this tree':>14}"))]
    columns = [*then.values(), now]
    for folder in sorted(set().union(*columns)):
        lines.append(f"{folder:24}" + "".join(f"{column[folder]:14,}" for column in columns))
    lines.append(f"{'in all':24}" + "".join(f"{column.total():14,}" for column in columns))
    for commit, column in then.items():
        change = now.total() - column.total()
        lines.append(f"since {commit[:12]}: {change:+,} statements, {change / column.total():+.1%}")
    return "\n".join(lines)


def main() -> None:
    """Print the counts. Exits with 2 where git does not have a commit."""
    then = {}
    for commit in sys.argv[1:] or BEFORE:
        try:
            then[commit] = of_commit(ROOT, commit)
        except (subprocess.CalledProcessError, FileNotFoundError):
            sys.stderr.write(f"git has no commit `{commit}` here; name others: python tests/statements.py COMMIT ...\n")
            sys.exit(2)
    print(table(then, of_tree(ROOT)))


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


if __name__ == "__main__":
    main()
