"""A picture of a report, for the README: `python -m lab.report.gallery RUN [--at SECONDS] [--out DIR] [--dark]`.

Owns finding a headless Chromium (by name, on PATH) and taking the picture with it. The page is a local file and needs
no network. Exit codes: 0 done, 2 wrong arguments or no report there, 3 no browser.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

__all__ = ["BROWSERS", "find_browser", "main", "take"]

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_WIDTH = 1200
_TALLEST = 16000
_QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
_HEIGHT = re.compile(r'data-height="(\d+)"')
_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
_PATIENCE_MS = 10_000
"""Virtual milliseconds in which a page must draw itself."""


class NoBrowser(Exception):
    """None of `BROWSERS` is installed."""


def find_browser() -> str | None:
    """Path of the first of `BROWSERS` that is installed."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def take(
    page: Path,
    picture: Path,
    *,
    width: int = _WIDTH,
    height: int | None = None,
    dark: bool = False,
    at: float | None = None,
) -> None:
    """Write a PNG of a page, at full height by default; `at`: the second of the run that it shows.

    Raises `NoBrowser`, or `RuntimeError` with the browser's output if it made no picture.
    """
    browser = find_browser()
    if browser is None:
        raise NoBrowser(f"no browser found (looked for {', '.join(BROWSERS)}): install the package `chromium`")
    with tempfile.TemporaryDirectory(prefix="lab-gallery-") as profile:
        command = [
            browser,
            *_QUIET,
            f"--user-data-dir={profile}/profile",
            "--blink-settings=preferredColorScheme=" + ("0" if dark else "1"),
            f"--virtual-time-budget={_PATIENCE_MS}",
        ]
        if height is None:
            # Measure a copy of the page that writes its own height into the DOM, because a busy browser draws no frame
            # in time.
            measured = Path(profile) / "page.html"
            script = (
                "<script>{const told=()=>document.body.setAttribute('data-height',document.body.scrollHeight);"
                f"told();onload=()=>{{told();setTimeout(told,{_PATIENCE_MS // 4})}}}}</script>"
            )
            text = _POLICY.sub("", page.read_text(encoding="utf-8"), count=1)  # it allows no other script
            measured.write_text(text.replace("</body>", f"{script}</body>"), encoding="utf-8")
            dump = _run([*command, f"--window-size={width},800", "--dump-dom", measured.as_uri()])
            found = _HEIGHT.search(dump.stdout)
            height = min(_TALLEST, int(found[1])) if found else 4000
        made = Path(profile) / "picture.png"
        address = page.resolve().as_uri() + ("" if at is None else f"#at={at:g}")
        done = _run([*command, f"--window-size={width},{height}", f"--screenshot={made}", address])
        if not made.exists():
            raise RuntimeError(f"{browser} made no picture: {done.stderr.strip()[-500:]}")
        picture.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(made, picture)


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m lab.report.gallery", description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path, help="run directory, as reports/partition/latest")
    parser.add_argument("--out", type=Path, default=Path("reports/gallery"), help="where the pictures go")
    parser.add_argument("--name", default="", help="stem of the picture (default: the scenario's name)")
    parser.add_argument("--height", type=int, help="cut the picture off here, in pixels")
    parser.add_argument("--at", type=float, help="the second of the run that the page shows (default: its end)")
    parser.add_argument("--dark", action="store_true", help="as a reader with a dark desktop sees it")
    options = parser.parse_args(argv)
    page = options.run / "index.html"
    if not page.is_file():
        print(f"{options.run}: no report there (`lab report {options.run}` makes it)", file=sys.stderr)
        return 2
    # reports/SCENARIO/TIME/index.html, or reports/SCENARIO/latest/index.html
    picture = options.out / f"{options.name or options.run.absolute().parent.name}.png"
    try:
        take(page, picture, height=options.height, dark=options.dark, at=options.at)
    except NoBrowser as error:
        print(error, file=sys.stderr)
        return 3
    print(picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
