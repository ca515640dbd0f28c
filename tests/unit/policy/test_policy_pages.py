"""What `weave policies` prints: a table of at most 80 columns, and what does not hold everywhere."""

from typing import Any

from overlay.daemon import status

LONG = "allow from role=a-long-name-of-a-role-that-somebody-has-chosen to [image=registry.example/shop/db:5]:5432/tcp"


def page(*policies: dict[str, Any], **more: Any) -> list[str]:
    policy = {"default": "allow", "policies": list(policies), "state": "conntrack", "problem": "", "peers": [], **more}
    peers = [{"name": "00:00:00:00:00:01", "nickname": "a-host-with-a-long-name.example"}]
    return status.text({"policy": policy, "mesh": {"peers": peers}}, "policies").splitlines()


def one(number: int, text: str, *, understood: bool = True) -> dict[str, Any]:
    ends = ("all", "12345") if understood else ("", "")
    return {
        "number": number, "policy": text, "from": ends[0], "to": ends[1], "version": 1,
        "writer": "00:00:00:00:00:01", "understood": understood,
    }  # fmt: skip


def test_the_table_has_eighty_columns_and_loses_nothing() -> None:
    lines = page(one(1, LONG), one(2, "deny from all to db"))
    assert max(map(len, lines)) == 80
    assert lines[0].split() == ["N", "POLICY", "FROM", "TO", "SET", "BY"]
    text = lines[1][5:56] + lines[2][5:]
    assert text == LONG and lines[1].endswith("all 12345  a-host-wit")
    assert lines[3].startswith("  2  deny from all to db ") and lines[-1] == "default: allow what none of them decides"


def test_what_does_not_hold_everywhere_is_said() -> None:
    peers = [{"name": "x", "nickname": "host2", "differs": "has other policies"}]
    lines = page(one(1, "deny from all to db/sctp", understood=False), state="off", problem="no nftables", peers=peers)
    assert lines[-3:] == [
        "policies are not enforced on this host: no nftables",
        "policy 1 is not understood by this version, and not enforced: deny from all to db/sctp",
        "policies: host2 has other policies",
    ]


def test_no_policies_are_one_line() -> None:
    assert page() == ["default: allow what none of them decides"]
