"""Read-only routes: status, report, metrics, options, and a stream of views."""

from msgspec.structs import replace

from overlay import __version__
from overlay.daemon import metrics, status
from overlay.daemon.control.parts import Parts
from overlay.daemon.control.route import Access, ControlRoute, Json, Plain, Takes
from overlay.daemon.control.watching import Watcher
from overlay.daemon.original_report import views
from overlay.daemon.template import render
from overlay.http.sentence import NotFound
from overlay.options import LaunchOptions, differences

__all__ = ["ROUTES"]


async def show_status(parts: Parts, part: str = "") -> str:
    """As `weave status`: a summary, or one part."""
    if part and part not in status.PARTS:
        raise NotFound(f"there is no status `{part}`: there are {', '.join(status.PARTS)}")
    return status.text(parts.report(), part)


async def no_status_json(_parts: Parts) -> None:
    """A path of the original that is not served; the answer names its replacement."""
    raise NotFound("the status as JSON is `GET /report`, `weave report` on the command line")


async def show_report(parts: Parts, template: str, *, as_original: bool) -> Json | str:
    """The report, or a template applied to it. Clients of the original ask for JSON with an `Accept` header."""
    report = parts.report()
    if not template:
        return Json({**report, **views(report)} if as_original else report)
    return render(template, {**report, **views(report)})


async def show_metrics(parts: Parts) -> Plain:
    """Metrics for Prometheus."""
    return Plain(metrics.text(parts.report()), metrics.CONTENT_TYPE)


async def show_options(parts: Parts) -> Json:
    """The launch options, without the password."""
    told = replace(parts.options, password="(set)" if parts.options.password else "")
    return Json({"version": __version__, "options": told})


async def compare_options(parts: Parts, asked: LaunchOptions) -> Json:
    """The differences between these options and those of another launch."""
    return Json(differences(parts.options, asked))


async def watch(parts: Parts, *, over_tcp: bool) -> Watcher:
    """Stream views."""
    return await parts.watchers.open(over_tcp=over_tcp)


ROUTES = (
    ControlRoute("GET", "/status", lambda p, q: show_status(p), Access.REPORT, on_status_port=True),
    ControlRoute("GET", "/status/{part}", lambda p, q: show_status(p, q["part"]), Access.REPORT, on_status_port=True),
    ControlRoute("GET", "/status-json", lambda p, q: no_status_json(p), Access.LOOK, on_status_port=True),
    ControlRoute(
        "GET",
        "/report",
        lambda p, q: show_report(p, q.query.first("format"), as_original=q.as_original),
        Access.REPORT,
        on_status_port=True,
    ),
    ControlRoute("GET", "/metrics", lambda p, q: show_metrics(p), Access.REPORT, on_status_port=True),
    ControlRoute("GET", "/options", lambda p, q: show_options(p), Access.LOOK),
    ControlRoute("GET", "/watch", lambda p, q: watch(p, over_tcp=q.over_tcp), Access.LOOK),
    # Needs the token because the comparison reveals whether a password guess is right.
    ControlRoute("POST", "/options", lambda p, q: compare_options(p, q.json(LaunchOptions)), Access.CHANGE, Takes.JSON),
)
