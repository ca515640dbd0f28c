"""What `status`, `report -f` and `/metrics` make of a report: of a node that lives, has neighbours and refuses one."""

import asyncio
import re
from contextlib import suppress
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from virtual_nodes import VirtualNodes

from overlay.daemon import metrics, status
from overlay.daemon.control.server import application
from overlay.daemon.original_report import target, views
from overlay.daemon.template import MAX_OUTPUT, MAX_STEPS, MAX_TEMPLATE, render, split
from overlay.env import SECOND
from overlay.errors import UsageError
from overlay.http.listener import Door, Turns
from overlay.inputs import Prime

DRIVER = {
    "device": "vxlan-6784",
    "bridge": "weave",
    "mtu": 1398,
    "remote_macs": 3,
    "dns_address": "",
    "dns_problem": "",
    "upstreams": [],
    "disk": "",
    "stalled": False,
}


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    """Of the first of three nodes with a password; a fourth one does not know it."""
    net = VirtualNodes(4, 1, password="correct horse")
    net.launch(0)
    net.launch(1, [0])
    net.launch(2, [0])
    net.launch(3, [0], password="battery staple")
    net.run(10 * SECOND)
    found = net.nodes[0].report(net.now)
    found["driver"] = DRIVER
    return found


def test_status_says_who_is_refused_and_why(report: dict[str, Any]) -> None:
    text = status.text(report, "connections")
    assert "<- 10.0.0.3" in text and "wrong password (" in text and " ago)" in text
    assert text.count("established") == 2 and "encrypted" in text
    assert "Encryption: enabled" in status.text(report)


def test_a_failed_target_shows_its_reason_and_the_next_try() -> None:
    net = VirtualNodes(2, 1, password="correct horse")
    net.launch(0)
    net.launch(1, [0], password="battery staple")
    net.run(10 * SECOND)
    text = status.text(net.nodes[1].report(net.now), "connections")
    assert "-> 10.0.0.0:6783" in text and "failed" in text and "wrong password (retry in " in text


def test_metrics_are_read_by_prometheus_own_parser(report: dict[str, Any]) -> None:
    families = {family.name: family for family in text_string_to_metric_families(metrics.text(report))}
    (sample,) = families["weave_connections"].samples
    assert sample.labels == {"state": "established", "type": "sleeve", "encryption": "yes"} and sample.value == 2
    for name in (
        *("weave_ips", "weave_max_ips", "weave_dns_entries", "weave_flows", "weave_ipam_unreachable_count"),
        *("weave_ipam_unreachable_percentage", "weave_ipam_pending_allocates", "weave_ipam_pending_claims"),
        "weave_connection_terminations",
    ):
        assert families[name].samples, name
    assert families["weave_connection_terminations"].type == "counter"


def test_templates_of_the_original_find_what_they_ask_for(report: dict[str, Any]) -> None:
    whole, mesh = {**report, **views(report)}, report["mesh"]
    peer = next(each for each in mesh["connections"] if each["state"] == "established")
    for template, expected in {
        "{{.Ready}} {{.Version}}": f"true {report['version']}",
        "{{.Router.Name}}({{.Router.NickName}})": f"{mesh['name']}({mesh['nickname']})",
        "{{if .Router.Encryption}}enabled{{end}}{{if not .Router.PeerDiscovery}}no{{end}}": "enabled",
        "{{len .Router.Peers}} {{len .Router.Connections}} {{len .Router.Targets}}": "3 2 0",
        '{{range .Router.Peers}}{{if eq .Name "' + peer["peer"] + '"}}{{.NickName}}{{end}}{{end}}': peer["nickname"],
        "{{(index (index .Router.Peers 0).Connections 0).Established}}": "true",
        "{{range .Router.Connections}}{{if eq .State `established`}}{{.Attrs.name}} {{end}}{{end}}": "sleeve sleeve ",
        "{{.Router.TrustedSubnets}}": "[]",
        "{{.IPAM.Range}} {{.IPAM.DefaultSubnet}}": "10.32.0.0/12 10.32.0.0/12",
        "{{.IPAM.RangeNumIPs}} {{.IPAM.ActiveIPs}} {{len .IPAM.PendingClaims}}": "1048576 0 0",
        "{{range .IPAM.Entries}}{{.Token}}{{.Size}}{{.Peer}}{{.Nickname}}{{.IsKnownPeer}}{{.Version}}{{end}}": "",
        "{{json .Router.Targets}}{{.router.name}}": f"[]{mesh['name']}",
        "{{.mesh.name}} {{.ipam.default_subnet}}": f"{mesh['name']} 10.32.0.0/12",
    }.items():
        assert render(template, whole) == expected, template
    served = {**report, "driver": {**report["driver"], "dns_address": "172.17.0.1", "proxy": ["unix:///p"]}}
    found = {**served, **views(served)}
    assert render("{{.DNS.Domain}} {{.DNS.Address}} {{.DNS.TTL}} {{len .DNS.Entries}}", found) == (
        "weave.local. 172.17.0.1:53 1 0"
    )
    assert render("{{.Proxy.Addresses}}{{with .Router}}{{.Name}}{{end}}", found) == f"[unix:///p]{mesh['name']}"
    with pytest.raises(UsageError, match="no field 'Upsteam', only Domain"):
        render("{{.DNS.Upsteam}}", found)


def test_ring_entries_and_targets_as_the_original_shows_them() -> None:
    net = VirtualNodes(2, 1)
    net.launch(0)
    net.launch(1, [0])
    net.run(5 * SECOND)
    net.nodes[1].handle(Prime(1), net.now)
    net.run(5 * SECOND)
    report = {**net.nodes[1].report(net.now), "driver": DRIVER}
    assert report["ipam"]["ready"]
    whole = views(report)
    entries = whole["IPAM"]["Entries"]
    assert sum(entry["Size"] for entry in entries) == whole["IPAM"]["RangeNumIPs"] == 1 << 20
    assert entries[0]["Token"] == "10.32.0.0" and all(entry["IsKnownPeer"] and entry["Nickname"] for entry in entries)
    assert whole["Router"]["Targets"] == status.text(report, "targets").split() == ["10.0.0.0"]
    assert [target(each, 6783) for each in ("[fd00::1]:6783", "[fd00::1]:7", "h:67830")] == [
        "fd00::1", "[fd00::1]:7", "h:67830",
    ]  # fmt: skip


def test_words_and_order_of_status_are_those_of_the_original(report: dict[str, Any]) -> None:
    shown = {**report, "driver": {**report["driver"], "dns_address": "172.17.0.1", "proxy": ["p"], "plugin": "weave"}}
    labels = [line.partition(":")[0].strip() for line in status.text(shown).splitlines() if ":" in line]
    order = (
        *("Version", "Service", "Protocol", "Name", "Encryption", "PeerDiscovery", "Targets", "Connections", "Peers"),
        *("TrustedSubnets", "Service", "Status", "Range", "DefaultSubnet", "Service", "Domain", "Upstream", "TTL"),
        *("Entries", "Service", "Address", "Service", "DriverName"),
    )
    left = iter(labels)
    assert all(label in left for label in order), labels
    assert "Connections: 2 (2 established)" in status.text(report)
    for line in status.text(report, "connections").splitlines():
        assert re.match(r"(->|<-) \S+ +(established encrypted   sleeve \S+\(\S+\) mtu=\d+$|refused )", line), line
    clear = {**report, "paths": {}}
    assert " established unencrypted fastdp " in status.text(clear, "connections")


def test_templates(report: dict[str, Any]) -> None:
    mesh = report["mesh"]
    assert render("{{.mesh.nickname}} {{ .Mesh.Nickname }}", report) == f"{mesh['nickname']} {mesh['nickname']}"
    assert render("{{len .mesh.peers}}", report) == "3"
    assert render("{{json .mesh.discovery}} {{.mesh.discovery}}", report) == "true true"
    names = sorted(peer["name"] for peer in mesh["peers"])
    assert render("{{range .mesh.peers}}{{.name}};{{end}}", report) == "".join(f"{name};" for name in names)
    assert render("{{if .mesh.refused}}some{{else}}none{{end}}", report) == "some"
    assert render("{{range .mesh.calling}}{{.}}{{else}}nobody{{end}}", {"mesh": {"calling": []}}) == "nobody"
    nested = {"a": [{"b": [1, 2]}, {"b": []}, {"b": [3]}]}
    assert render("{{range .a}}<{{range .b}}{{.}},{{end}}>{{end}}", nested) == "<1,2,><><3,>"


DATA = {
    "Peers": [{"Name": "a", "Up": True, "N": 2}, {"Name": "b", "Up": False, "N": 10}],
    "Map": {"k1": "v1", "k2": "v2"}, "Empty": [], "Nick": "a\x1bb", "Text": "x", "None": None, "Half": 0.5,
}  # fmt: skip


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{range $i, $p := .Peers}}{{if $i}}, {{end}}{{$p.Name}}={{$i}}{{end}}", "a=0, b=1"),
        ("{{range $k, $v := .Map}}{{$k}}:{{$v}} {{end}}", "k1:v1 k2:v2 "),
        ("{{range .Peers}}{{.Name}}/{{$.Text}} {{end}}", "a/x b/x "),
        (
            '{{with .Text}}<{{.}}>{{end}}{{with .Empty}}no{{else}}none{{end}}{{with $x := "y"}}{{$x}}{{.}}{{end}}',
            "<x>noneyy",
        ),
        ('{{if eq .Text "x"}}1{{end}}{{if ne .Text "x"}}2{{else if eq .Text "y" "x"}}3{{else}}4{{end}}', "13"),
        ("{{range .Peers}}{{if and .Up (lt .N 5)}}{{.Name}}{{end}}{{if or .Up (gt .N 5)}}!{{end}}{{end}}", "a!!"),
        ('{{if not .Empty}}{{len .Peers}}{{end}}{{len .Peers | printf "%03d"}}', "2002"),
        (
            '{{printf "%-5s|%5v|%q|%d%%|%.3v|%t|%.2f" .Text .Text .Text 7 "abcdef" true .Half}}',
            'x    |    x|"x"|7%|abc|true|0.50',
        ),
        ("{{$n := 0}}{{range .Peers}}{{$n = .N}}{{end}}{{$n}}", "10"),
        ("{{$n := 1}}{{range .Peers}}{{$n := 5}}{{end}}{{$n}}", "1"),
        ('{{(index .Peers 1).Name}} {{index .Map "k2"}} {{index .Map "k9"}}', "b v2 "),
        ("a {{- /* why */ -}} b", "ab"),
        ("a{{ `raw\\n` }} {{-  .Text }} c", "araw\\nx c"),
        ("{{print .Text 1 2}}{{println .Text 1}}{{.None}}", "x1 2x 1\n"),
        ("{{.Empty}} {{range .Peers}}{{.Up}} {{end}}", "[] true false "),
        ('{{.Nick}} {{printf "%s" .Nick}} {{$x := .Nick}}{{$x}}', "a\\x1bb a\\x1bb a\\x1bb"),
        ("{{ json .Map }}{{.Peers | len}}", '{"k1": "v1", "k2": "v2"}2'),
    ],
)
def test_templates_as_go_renders_them(template: str, expected: str) -> None:
    assert render(template, DATA) == expected


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{$x}}", "no value"),
        ("{{$a, $b := .Map}}", "only range has two"),
        ("{{range $a, $b, $c := .Map}}{{end}}", "a key and an element"),
        ("{{with .Text}}", "with}} without"),
        ("{{if .Text}}{{else range .Peers}}{{end}}{{end}}", "expected else, else if"),
        ("{{eq .Text}}", "eq takes two values or more, found 1"),
        ("{{eq .Map .Map}}", "compares texts"),
        ("{{lt .Text 1}}", "no order"),
        ('{{printf "%d" .Text}}', "%d does not fit str"),
        ('{{printf "%s"}}', "no value for %s"),
        ('{{printf "x" 1}}', "1 more values"),
        ('{{printf "%9999s" .Text}}', "at most 999"),
        ("{{index .Peers 2}}", "there are 2 elements"),
        ("{{index .Text 0}}", "has no element"),
        ("{{(.Text}}", "not understood"),
        ("{{.Text | .Text}}", "not understood"),
        ('{{define "x"}}{{end}}', "not understood"),
        ("{{" + "(" * 40 + ".Text" + ")" * 40 + "}}", "deeper"),
        ("{{$x := .Text}}" + '{{$x = printf "%s%s%s%s" $x $x $x $x}}' * 40, f"more than {MAX_STEPS} steps"),
    ],
)
def test_templates_that_go_would_not_render_either(template: str, expected: str) -> None:
    with pytest.raises(UsageError) as found:
        render(template, DATA)
    assert expected in str(found.value) and len(str(found.value)) < 300


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{.mesh", "not closed"),
        ("{{end}}", "without a beginning"),
        ("{{range .mesh.peers}}", "without {{end}}"),
        ("{{.mesh.nick}}", "no field 'nick'"),
        ("{{exec .mesh}}", "not understood"),
        ("{{range .mesh.name}}{{end}}", "a list expected"),
        ("{{if .mesh}}" * 40 + "{{end}}" * 40, "deeper"),
    ],
)
def test_templates_that_are_none(report: dict[str, Any], template: str, expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        render(template, report)


PIECES = [
    *("{{", "}}", "range ", "if ", "with ", "end", "else", ".a", ".", "json ", "x", '"', "\\", "$x", " := ", "=", "|"),
    *("(", ")", "printf ", "index ", "eq ", " 1 ", ",", "%", "-", "`"),
]


@given(st.lists(st.sampled_from(PIECES), max_size=16))
def test_no_template_raises_anything_else(pieces: list[str]) -> None:
    try:
        render("".join(pieces), {"a": [{"a": 1}]})
    except UsageError:
        return


_SLOW_ACTION = re.compile(r"\{\{(-?)\s*(.*?)\s*(-?)\}\}", re.DOTALL)
"""How templates could be read, too; its time grows with the cube of a row of blanks."""


@given(st.lists(st.sampled_from(["{{", "}}", "{", "}", "-", " ", "\n", ".a", "x"]), max_size=14))
@example(["{{", "{{", "-", " ", "}}"])
def test_the_scanner_finds_what_the_expression_found(pieces: list[str]) -> None:
    template = "".join(pieces)
    texts, expected = _SLOW_ACTION.split(template), [""]
    if any("{{" in text for text in texts[::4]):
        with pytest.raises(UsageError, match="not closed"):
            split(template)
        return
    expected = [texts[0]]
    for before, action, after, text in zip(*(iter(texts[1:]),) * 4, strict=True):
        expected[-1] = expected[-1].rstrip() if before else expected[-1]
        expected += [action, text.lstrip() if after else text]
    assert [text for _, text in split(template)] == expected


class _Counting(str):
    """Text that counts the characters that were searched for."""

    searched = 0

    def find(self, wanted: str, start: int = 0, end: int | None = None) -> int:  # type: ignore[override]
        found = super().find(wanted, start)
        _Counting.searched += (len(self) if found < 0 else found) - start + len(wanted)
        return found


@pytest.mark.parametrize("piece", ["{{", " ", "{{ ", "{{.a}}", "}}", "{{-", "{{ }} "])
def test_a_template_is_read_in_linear_time(piece: str) -> None:
    """2,600 blanks behind an open brace froze the router for 100 s."""
    for prefix in ("", "{{"):
        template = _Counting(prefix + piece * 100_000)
        _Counting.searched = 0
        with suppress(UsageError):
            split(template)
        assert 0 < _Counting.searched <= 4 * len(template)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{" + " " * MAX_TEMPLATE, f"at most {MAX_TEMPLATE}"),
        ("{{" + " " * (MAX_TEMPLATE - 2), "not closed"),
        ("{{range .a}}{{range .}}" + "{{.}}" * 1000 + "{{end}}{{end}}", f"more than {MAX_STEPS} steps"),
        ("{{json .}}" * 800, f"more than {MAX_OUTPUT >> 20} MiB"),
        ("{{.nothing}}" * 600, "no field 'nothing', only a, k0,"),
        ('{{"\\x"}}', "truncated"),
        ("{{len .k0}}", "a list expected"),
    ],
)
def test_what_a_template_may_ask_is_bounded(template: str, expected: str) -> None:
    report = {"a": [list(range(100))] * 100, **{f"k{number}": number for number in range(1000)}}
    with pytest.raises(UsageError, match=expected) as found:
        render(template, report)
    assert len(str(found.value)) < 400


@pytest.mark.parametrize(
    ("template", "elements", "element"),
    [
        ("{{range .a}}{{json .}}{{end}}", 15_000, "x" * 500),
        ("{{range .a}}{{.}}{{end}}", 15_000, "x" * 500),
        ("{{range .a}}{{.}}{{end}}", 10_000, "\x7f" * 100),
        ('{{range .a}}{{printf "%900v" .}}{{end}}', 9000, 1),
        ("{{range .a}}" + "x" * 1400 + "{{end}}", 5500, 1),
    ],
    ids=["json", "text", "escapes", "printf", "between"],
)
def test_length_and_steps_draw_on_one_budget(template: str, elements: int, element: object) -> None:
    """3.6 s of `{{json .}}` were within either bound."""
    with pytest.raises(UsageError, match=f"more than {MAX_STEPS} steps"):
        render(template, {"a": [element] * elements})
    assert len(render(template, {"a": [element] * (elements // 4)})) >= elements // 4


class _Virtual:
    """A clock that goes on when somebody works or sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)
        self.now += seconds


async def _get(app: web.Application, path: str) -> int:
    request = make_mocked_request("GET", path, headers={"Host": "localhost"}, app=app)
    match = await app.router.resolve(request)
    match.add_app(app)
    request._match_info = match
    response = await app._handle(request)
    return response.status


def test_reports_over_tcp_leave_the_router_most_of_its_time(report: dict[str, Any]) -> None:
    clock = _Virtual()
    made: list[tuple[float, float]] = []

    def slow() -> dict[str, Any]:
        begun = clock.now
        clock.now += 0.1
        made.append((begun, clock.now))
        return {"version": "1", **report}

    parts = cast(Any, SimpleNamespace(report=slow))
    door = Door(turns=Turns(lambda: clock.now, clock.sleep))
    both = [application(parts, door), application(parts, door, read_only=True)]
    for app in both:
        app.freeze()
    paths = ("/status", "/status/peers", "/report", "/report?format=x", "/report?format={{.no}}", "/metrics")

    async def ask() -> None:
        asked = [asyncio.create_task(_get(app, path)) for path in paths for app in both]
        await asyncio.sleep(0)
        asked[3].cancel()  # gave up
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert [each for each in found if each not in (200, 400)] == [found[3]]
        before, unix = clock.now, application(parts)
        unix.freeze()
        assert await _get(unix, "/status") == 200
        assert clock.now == pytest.approx(before + 0.1)

    asyncio.run(ask())
    over_tcp = made[:-1]
    assert len(over_tcp) == len(paths) * 2 - 1
    for (begun, ended), (again, _) in pairwise(over_tcp):
        assert again - ended > 2 * (ended - begun)
