"""The router, the proxy and the plugin: do they run, and do they have the same version as this command?"""

from collections.abc import Iterator

from overlay.check.facts import Facts
from overlay.check.finding import Finding, fine, unseen, wrong

__all__ = ["plugin", "proxy", "router"]


def router(facts: Facts) -> Iterator[Finding]:
    """The router answers."""
    if facts.report is None:
        yield _silent(facts)
        return
    if facts.version != facts.program:
        yield wrong(
            f"the router is version {facts.version}, this command version {facts.program}",
            "both of one version",
            "`weave stop`, then `weave launch` with the flags of before",
        )
    else:
        mesh = facts.mesh
        yield fine(f"runs: {mesh['name']}({mesh['nickname']}), version {facts.version}")


def _silent(facts: Facts) -> Finding:
    process = facts.host.router if facts.host is not None else None
    if process is not None and process.state == "stopped":
        return wrong(
            f"the router does not answer: its process {process.pid} is stopped by a signal",
            "a router that runs",
            f"`kill -CONT {process.pid}`",
        )
    if facts.problem:
        return wrong(f"the router: {facts.problem}", "a router that answers", "`weave status` as root; see its log")
    died = process is not None and process.state == "died"
    return wrong(
        "the router has died: nobody said `weave stop`" if died else "the router does not run",
        "a router on this host",
        "`weave launch` with the flags of before, if there were any",
    )


def proxy(facts: Facts) -> Iterator[Finding]:
    """The Docker API proxy, if it is used."""
    if facts.host is None:
        yield unseen("a simulated host has no proxy")
        return
    process = facts.host.proxy
    if process.state == "died":
        yield wrong("the proxy has died: nobody said `weave stop-proxy`", "a proxy that runs", "`weave launch-proxy`")
    elif process.state == "stopped":
        yield wrong(
            f"the proxy's process {process.pid} is stopped by a signal",
            "a proxy that runs",
            f"`kill -CONT {process.pid}`",
        )
    elif process.state == "none":
        yield fine("does not run, and was not launched")
    elif process.version != facts.program:
        yield wrong(
            f"the proxy is version {process.version or 'unknown'}, this command version {facts.program}",
            "both of one version",
            "`weave stop-proxy`, then `weave launch-proxy` with the flags of before",
        )
    else:
        yield fine(f"runs, version {process.version}")


def plugin(facts: Facts) -> Iterator[Finding]:
    """The engine's plugin, if the router was launched with it."""
    if facts.report is None:
        yield unseen("the router does not answer")
    elif not facts.options.get("plugin"):
        yield fine("not asked for (`weave launch --plugin`)")
    elif facts.host is None:
        yield unseen("a simulated host has no plugin")
    else:
        silent = [f"{path}: {problem}" for path, problem in facts.host.plugin if problem]
        for problem in silent:
            yield wrong(
                f"the engine cannot reach the plugin at {problem}",
                "a socket that the router answers at",
                "`weave stop`, then `weave launch --plugin`",
            )
        if not silent:
            yield fine(f"answers at {' '.join(path for path, _ in facts.host.plugin)}")
