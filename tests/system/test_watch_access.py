"""Who may do what on the page of `lab watch`, over real HTTP on loopback: tokens, foreign pages, resuming, a class."""

import http.client
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from two_hosts_history import CUT, JOINED, S, records, sample
from waiting import eventually
from watched_page import StandInLab, WatchedPage, watched

PATIENCE = 120


@pytest.fixture
def page(tmp_path: Path):
    with watched(tmp_path) as served:
        served.write(records())
        yield served


def request(page: WatchedPage, method: str, path: str, token: str = "", body: object = None, **headers: str):
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=PATIENCE)
    said = {key.replace("_", "-"): value for key, value in headers.items()}
    if token:
        said["Authorization"] = f"Bearer {token}"
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    connection.request(method, path, data, said)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text, answer.headers


class Stream:
    """Events of `/records` as they come."""

    def __init__(self, page: WatchedPage, token: str, last: str = "") -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=PATIENCE)
        headers = {"Authorization": f"Bearer {token}"} | ({"Last-Event-ID": last} if last else {})
        self._connection.request("GET", "/records", headers=headers)
        self._answer = self._connection.getresponse()
        self.status = self._answer.status

    def next(self, *names: str) -> tuple[str, str, Any]:
        """(name, id, data) of the next event of these names."""
        while True:
            found: dict[str, str] = {}
            while (read := self._answer.readline()).strip() or not found:
                assert read, f"the stream ended before {' or '.join(names)}"
                line = read.decode().rstrip("\n")
                key, _, value = line.partition(": ")
                if key and line:
                    found[key] = value
            if found.get("event") in names:
                return found["event"], found.get("id", ""), json.loads(found["data"])

    def close(self) -> None:
        self._answer.close()
        self._connection.close()


STEP = {"step": {"kill": {"daemon": "a"}}, "lease": None}
PATHS = [
    ("GET", "/about"),
    ("GET", "/records"),
    ("GET", "/log/a"),
    ("GET", "/scenario"),
    ("POST", "/step"),
    ("POST", "/undo"),
]


@pytest.mark.parametrize(("method", "path"), PATHS)
@pytest.mark.parametrize("token", ["", "x" * 32])
def test_nothing_without_the_token(page, method, path, token):
    status, text, _ = request(page, method, path, token, STEP if method == "POST" else None)
    assert status == 401
    assert "open the whole address" in text
    assert page.lab.asked == []


def test_the_page_itself_says_nothing_of_the_lab_and_stays_with_itself(page):
    status, text, headers = request(page, "GET", "/")
    assert status == 200
    assert page.keys.change not in text and page.keys.look not in text and "192.168" not in text
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Content-Security-Policy"] == "frame-ancestors 'none'"
    assert "Set-Cookie" not in headers


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_pages_of_others_get_nothing_even_with_the_token(page, headers):
    for method, path in PATHS:
        status, text, _ = request(page, method, path, page.keys.change, STEP if method == "POST" else None, **headers)
        assert status == 403, (path, text)
    assert page.lab.asked == []


def test_a_link_to_the_page_may_be_followed_but_not_from_a_foreign_name(page):
    moved = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}
    assert request(page, "GET", "/", **moved)[0] == 200
    assert request(page, "GET", "/about", page.keys.look, **moved)[0] == 403
    assert request(page, "GET", "/", Host="evil.example", **moved)[0] == 403


def test_a_read_only_token_looks_and_changes_nothing(page):
    assert json.loads(request(page, "GET", "/about", page.keys.look)[1])["may"] == "look"
    for path in ("/step", "/undo"):
        status, text, _ = request(page, "POST", path, page.keys.look, STEP)
        assert (status, "changes nothing" in text) == (403, True)
    assert page.lab.asked == []


def test_a_step_says_who_took_it_and_a_refusal_is_the_labs_own(page):
    status, text, _ = request(page, "POST", "/step", page.keys.change, STEP | {"seen": 3})
    assert (status, json.loads(text)["index"]) == (200, 5)
    do, said = page.lab.asked[0]
    assert (do, said["step"], said["lease"], said["seen"]) == ("step", STEP["step"], None, 3)
    assert said["by"].endswith(" (page)")
    page.lab.refusal = "no host \x1b[31mnobody; hosts: a, b"
    status, text, _ = request(page, "POST", "/step", page.keys.change, STEP)
    assert (status, text) == (409, "no host \\x1b[31mnobody; hosts: a, b")


@pytest.mark.parametrize(
    "body",
    [b"", b"[1]", b"{", b"[" * 100_000, {"step": 5}, {"step": {"kill": "a"}, "lease": "x"}, {"step": {}, "seen": True}],
)
def test_what_is_no_step_is_refused_in_a_sentence(page, body):
    status, text, _ = request(page, "POST", "/step", page.keys.change, body)
    assert status in (400, 413)
    assert text and "Traceback" not in text
    assert page.lab.asked == []


def test_records_come_as_they_are_written_and_go_on_where_a_page_was(page):
    stream = Stream(page, page.keys.look)
    _, place, first = stream.next("records")
    assert first[0]["k"] == "meta"
    page.write([CUT, sample(4 * S, ok=False)])
    seen: list[dict[str, Any]] = []
    while not any(each["k"] == "try" for each in seen):
        _, place, more = stream.next("records")
        seen += more
    assert any(each.get("fault") == 0 for each in seen)
    stream.close()
    page.write([JOINED])
    again = Stream(page, page.keys.look, place)
    _, _, rest = again.next("records")
    assert [each["k"] for each in rest] == ["event"] and rest[0]["over"] == [0]
    again.close()
    for wrong in ("7", "-1", "99999999", "x", "9" * 40):
        assert Stream(page, page.keys.look, wrong).status == 400


def test_faults_in_force_are_told_when_they_change(page):
    stream = Stream(page, page.keys.look)
    assert stream.next("state")[2]["faults"] == []
    page.lab.faults.append({"step": 2, "label": "cut", "until": None, "by": "jo"})
    assert stream.next("state")[2]["faults"][0]["label"] == "cut"
    stream.close()


def test_a_class_of_thirty_looks_on_and_too_many_are_told_so(page):
    streams = [Stream(page, page.keys.look) for _ in range(30)]
    for stream in streams:
        assert stream.next("records")[2][0]["k"] == "meta"
    more = [Stream(page, page.keys.look) for _ in range(20)]
    assert [stream.status for stream in more] == [200] * 18 + [503] * 2
    for stream in (*streams, *more):
        stream.close()

    def again() -> bool:
        stream = Stream(page, page.keys.look)
        stream.close()
        return stream.status == 200

    eventually(again)


def test_a_page_that_reads_nothing_costs_no_memory_and_harms_nobody(page):
    """It is not even known to be slow: what it did not take stays in a file."""
    slow = socket.create_connection(("127.0.0.1", page.port))
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.sendall(f"GET /records HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {page.keys.look}\r\n\r\n".encode())
    page.write([sample(number * 1000, ok=True) for number in range(30_000)])
    quick = Stream(page, page.keys.look)
    tries = 0
    while tries < 30_000:
        tries += sum(each["k"] == "try" for each in quick.next("records")[2])
    quick.close()
    slow.close()


def test_the_log_of_a_daemon_and_the_scenario_by_hand(page):
    assert "daemon on a" in json.loads(request(page, "GET", "/log/a", page.keys.look)[1])["log"]
    status, text, headers = request(page, "GET", "/scenario", page.keys.look)
    assert (status, text) == (200, "version: 1\n")
    assert headers["Content-Disposition"].startswith("attachment")


def test_a_lab_that_is_gone_is_told_and_its_past_stays(tmp_path):
    with watched(tmp_path, StandInLab()) as page:
        page.write(records())
        stream = Stream(page, page.keys.look)
        stream.next("now")
        page.end("the lab mine is down")
        assert stream.next("ended")[2] == {"reason": "the lab mine is down"}
        stream.close()
        late = Stream(page, page.keys.look)
        assert late.next("records")[2][0]["k"] == "meta"
        assert late.next("ended")[2]["reason"]
