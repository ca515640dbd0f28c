"""`make same`: is every simulated history still the same, byte for byte, as that of another commit?

Plays the scenarios of `scenarios/` (as they are in the other commit) and the worlds beside this file, with the sources
and with the compiled cores, on the code of this folder and on the other commit's. Moves and merges of code keep all
histories equal. Where a line has to change, the commit that changes it says which line and why.

Owns which runs are compared and how. Knows only the `lab` command, because everything behind it may move.

    python tests/same [COMMIT] [--no-compiled] [--only NAME ...]

COMMIT is HEAD unless named. Exit code: 0 the same, 1 a difference, 2 wrong use.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest
from pathlib import Path

HERE = Path(__file__).parent
TOP = HERE.parents[1]
SWITCH = "OVERLAY_LAB_COMPILED"
CODE = re.compile(r',"machine":\{"python":"[^"]*","code":"[0-9a-f]+"\}|(?<="file":")[^"]*/(?=[^"/]*",)')
"""What only histories of earlier commits say in their first line: the code that made it, and the scenario's folder."""
SHOWN = 100
"""Characters of a differing line on each side of the first difference."""


class Tree:
    """The code of one commit, and the runs that it played."""

    def __init__(self, name: str, top: Path, work: Path) -> None:
        self.name, self.top, self.work = name, top, work

    def command(self, *words: str, compiled: bool) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(self.top), SWITCH: "1" if compiled else "0"}
        command = (sys.executable, "-m", "lab.cli", *words)
        return subprocess.run(command, cwd=self.work, env=environment, capture_output=True, text=True, check=False)

    def build(self) -> None:
        """The compiled cores, into the user's cache; kept there under the hash of their sources."""
        done = self.command("compile", compiled=False)
        if done.returncode:
            sys.exit(f"same: the cores of {self.name} cannot be compiled:\n{done.stderr}{done.stdout}")

    def play(self, scenario: str, *, compiled: bool) -> Path | str:
        """The history of one run; a sentence if there is none."""
        out = self.work / ("compiled" if compiled else "sources")
        flags = ["--backend", "sim", "--json", "--out", str(out)]
        if "--no-figures" in self.help:
            flags.append("--no-figures")
        done = self.command("run", scenario, *flags, compiled=compiled)
        try:
            history = Path(json.loads(done.stdout.splitlines()[-1])["run_dir"], "history.jsonl")
        except (ValueError, LookupError):
            return f"exit code {done.returncode}: {done.stderr.strip()[-500:]}"
        return history if history.is_file() else f"exit code {done.returncode} and no history"

    @property
    def help(self) -> str:
        if not hasattr(self, "_help"):
            self._help = self.command("run", "--help", compiled=False).stdout
        return self._help


def main() -> int:
    parser = argparse.ArgumentParser(prog="same", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("commit", nargs="?", default="HEAD", help="what to compare with (HEAD)")
    parser.add_argument("--no-compiled", action="store_true", help="only the sources")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these scenarios and worlds")
    asked = parser.parse_args()
    found = git("rev-parse", "--verify", "--quiet", f"{asked.commit}^{{commit}}")
    if found.returncode:
        print(f"same: {asked.commit} is no commit of this repository", file=sys.stderr)
        return 2
    commit = found.stdout.strip()
    with tempfile.TemporaryDirectory(prefix="overlay-same-") as folder:
        return compare(asked, commit, Path(folder))


def compare(asked: argparse.Namespace, commit: str, work: Path) -> int:
    other = work / "other"
    other.mkdir()
    archive = subprocess.run(["git", "-C", str(TOP), "archive", commit], stdout=subprocess.PIPE, check=True).stdout
    subprocess.run(["tar", "-C", str(other), "-xf", "-"], input=archive, check=True)
    trees = [Tree("this folder", TOP, work / "a"), Tree(commit[:12], other, work / "b")]
    names: list[str] = []
    for tree in trees:
        # The name of a scenario's file is in the history, so both trees are given the same one.
        shutil.copytree(other / "scenarios", tree.work / "scenarios")
        shutil.copytree(HERE, tree.work / "worlds", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
        names = [
            str(path.relative_to(tree.work))
            for path in sorted(tree.work.glob("*/*.yaml"))
            if not asked.only or path.stem in asked.only
        ]
    if unknown := set(asked.only or ()) - {Path(name).stem for name in names}:
        print(f"same: no scenario or world is called {' or '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    kinds = [False] if asked.no_compiled else [False, True]
    if True in kinds:
        for tree in trees:
            tree.build()
    differ = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = {
            (name, compiled): [pool.submit(tree.play, name, compiled=compiled) for tree in trees]
            for name in names
            for compiled in kinds
        }
        for (name, compiled), futures in runs.items():
            here, there = (future.result() for future in futures)
            what = f"{Path(name).stem} ({'compiled' if compiled else 'sources'})"
            text = difference(here, there)
            differ += bool(text)
            print(f"differs  {what}\n{text}" if text else f"same     {what}  {digest(here)}", flush=True)
    print(f"{len(runs) - differ} of {len(runs)} histories are those of {trees[1].name}")
    return 1 if differ else 0


def difference(here: Path | str, there: Path | str) -> str:
    """Where two histories part; empty if they do not."""
    if isinstance(here, str) or isinstance(there, str):
        shown = [one if isinstance(one, str) else "a history" for one in (here, there)]
        return f"  here:  {shown[0]}\n  there: {shown[1]}"
    parted = []
    with here.open(encoding="utf-8") as one, there.open(encoding="utf-8") as other:
        for number, (mine, theirs) in enumerate(zip_longest(one, other, fillvalue="(end)\n"), 1):
            if number == 1:
                mine, theirs = CODE.sub("", mine), CODE.sub("", theirs)
            if mine != theirs:
                at = next((i for i, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b), 0)
                cut = slice(max(at - SHOWN, 0), at + SHOWN)
                parted += [f"  line {number}, column {at + 1}"]
                parted += [f"    here:  {mine[cut].strip()}", f"    there: {theirs[cut].strip()}"]
                if number > 1:
                    break  # the lines after it follow from it; the first line is the scenario, from which nothing may
    return "\n".join(parted)


def digest(history: Path | str) -> str:
    assert isinstance(history, Path)
    return hashlib.sha256(CODE.sub("", history.read_text(encoding="utf-8"), count=1).encode()).hexdigest()[:16]


def git(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", "-C", str(TOP), *words], capture_output=True, text=True, check=False)


if __name__ == "__main__":
    sys.exit(main())
