"""Fixtures that cost too much to be made more than once: a host with a real Docker Engine, its router and its proxy.

One setting for all property tests: no deadline, and no check that examples come fast. Nothing timed is asserted, and a
busy machine is no fault. Another for all: what is tested are the sources, whether or not somebody has compiled them.

Large suites take turns: a test marked `turn(K)` is one of TURNS parts of a suite, and so are most scenarios
(`turns`). With TURN=N in the environment (as `.ci/run` sets it) only part N modulo TURNS is played; without it all are.
Each session prints its minutes by tier.
"""

import os
import signal
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser
from docker_hosts import DockerHost, need_docker
from hypothesis import HealthCheck, settings
from overlay_hosts import Host, Underlay, underlay
from turns import TURNS, turns_of

from lab.compiled.parts import SWITCH

os.environ[SWITCH] = "0"

SCENARIOS = Path(__file__).parents[1] / "scenarios"
collect_ignore = ["clients", "fuzz", "same", "support"]
"""Folders whose scenarios are no tests: they are played by commands of their own, or with what a test installs."""

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's `&`: programs under test would ignore it as well
    signal.signal(signal.SIGINT, signal.default_int_handler)
settings.register_profile("untimed", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests of virtual machines come first, as they take longest; of a large suite only the part whose turn it is."""
    items.sort(key=lambda item: item.get_closest_marker("turn") is None)
    if not os.environ.get("TURN"):
        return
    turn = int(os.environ["TURN"]) % TURNS
    scenarios = turns_of(file.name for file in SCENARIOS.glob("*.yaml"))

    def part(item: pytest.Item) -> int | None:
        if item.path.parent == SCENARIOS:
            return scenarios.get(item.path.name)
        mark = item.get_closest_marker("turn")
        return None if mark is None else mark.args[0]

    later = [item for item in items if part(item) not in (None, turn)]
    if later:
        config.hook.pytest_deselected(items=later)
        items[:] = [item for item in items if item not in later]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Minutes by tier, added up over the processes of `-n`."""
    seconds: dict[str, float] = defaultdict(float)
    tests: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                parts = report.nodeid.partition("::")[0].split("/")
                tier = parts[1] if parts[0] == "tests" and len(parts) > 2 else parts[0]
                seconds[tier] += report.duration
                tests[tier] += report.when == "call"
    told = ", ".join(
        f"{tier} {tests[tier]} in {spent / 60:.1f}"
        for tier, spent in sorted(seconds.items(), key=lambda each: -each[1])
    )
    if told:
        terminalreporter.write_line(f"tests and minutes by tier: {told}")


@pytest.fixture(scope="session")
def docker_host() -> Iterator[DockerHost]:
    """Images are loaded, router and proxy run. A test leaves it as it found it."""
    need_docker()
    with underlay(DockerHost) as made:
        host = made.host("orion", 2)
        assert isinstance(host, DockerHost)
        host.load_images()
        host.weave("launch")
        host.weave("launch-proxy")
        yield host


@pytest.fixture
def orion(net: Underlay) -> Host:
    """Of the hosts that a module's own `net` has."""
    return net.hosts["orion"]


@pytest.fixture
def macbook(net: Underlay) -> Host:
    """See `orion`."""
    return net.hosts["macbook"]


@pytest.fixture(scope="session")
def one_browser() -> Iterator[Browser]:
    """Starting a browser takes a second: one for all tests of a process."""
    made = Browser()
    yield made
    made.close()


@pytest.fixture
def browser(one_browser: Browser) -> Browser:
    """A headless Chromium with an empty page, 1280 by 900, light. Skips where there is none; in CI it fails."""
    one_browser.without_scripts(False)
    one_browser.open("about:blank")
    one_browser.resize(1280, 900)
    one_browser.scheme("light")
    return one_browser
