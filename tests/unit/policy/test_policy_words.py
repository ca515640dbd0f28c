"""The words of policies: one spelling for each, whatever is typed; what makes no sense is refused in a sentence."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from overlay.errors import UsageError
from overlay.policy.names import labels_of, names_of
from overlay.policy.words import MAX_RULE, parse


@pytest.mark.parametrize(
    ("typed", "spelt"),
    [
        ("from all to db", "from all to db"),
        ("from any to DB.", "from all to db"),
        ("from web to db:5432", "from web to db:5432"),
        ("from web to db:81,80,8000-8100,8050-8200/tcp", "from web to db:80-81,8000-8200/tcp"),
        ("from role=a:b/tcp to [role=a:5]:443", "from role=a:b/tcp to [role=a:5]:443"),
        ("from all to [role=a:5]", "from all to [role=a:5]"),
        ("from all to [role=a/tcp]", "from all to [role=a/tcp]"),
        ("from all to [db]:80", "from all to db:80"),
        ("from 10.2.0.0/16 to 10.3.0.7/32", "from 10.2.0.0/16 to 10.3.0.7"),
        ("from all to 10.2.0.0/16/icmp", "from all to 10.2.0.0/16/icmp"),
        ("from all to 10.2.0.0/16:80", "from all to 10.2.0.0/16:80"),
        ("from FD00::0/64 to fd00:0::5/128", "from fd00::/64 to fd00::5"),
        ("from all to [fd00::/64]:80/udp", "from all to [fd00::/64]:80/udp"),
        ("from peer:host1 to peer:7a:9f:eb:b6:0c:66", "from peer:host1 to peer:7a:9f:eb:b6:0c:66"),
        ("from all to peer:7a:9f:eb:b6:0c:66/udp", "from all to peer:7a:9f:eb:b6:0c:66/udp"),
    ],
)
def test_each_policy_has_one_spelling(typed: str, spelt: str) -> None:
    policy = parse(False, typed)
    assert policy.rule == spelt and parse(False, spelt) == policy
    assert policy.text == f"deny {spelt}" and parse(True, typed).text == f"allow {spelt}"


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("to db", "expected `from X to Y"),
        ("from a b to c", "expected `from X to Y"),
        ("from web:80 to db", "ports belong to the destination, as `to web:80`"),
        ("from 10.2.1.5/24 to db", r"expected 10.2.1.0/24 \(all of it\) or 10.2.1.5"),
        ("from 10.2.1 to db", "expected all, the name of a container"),
        ("from 7 to db", "expected all, the name of a container"),
        ("from wéb to db", "expected all, the name of a container"),
        ("from all to db:90-80", "contradict themselves: expected 80-90"),
        ("from all to db:0", "expected 1 to 65535"),
        ("from all to db:70000", "expected 1 to 65535"),
        ("from all to db:80/icmp", "contradicts itself: ICMP has no ports"),
        ("from 10.2.0.0/16 to fd00::1", "contradicts itself: no packet has an IPv4 and an IPv6 address"),
        ("from =x to db", "expected KEY=VALUE"),
        ("from peer: to db", "expected `peer:` and a peer's name"),
        ("from all to db:" + ",".join(str(n) for n in range(2, 40, 2)), "16 at the most"),
        (f"from all to {'x' * MAX_RULE}", "expected 512 at the most"),
    ],
)
def test_what_makes_no_sense_is_said(typed: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        parse(True, typed)


WORD = st.text("ab:/[]=-.,0123456789 peritcmudfol%\x00é", max_size=24)


@settings(max_examples=600)
@given(st.one_of(st.text(max_size=60), st.builds("from {} to {}".format, WORD, WORD)))
@example("from all to []")
@example("from [ to ]")
@example("from a=] to [a=[:5]")
@example("from ::%1 to 1.1.1.1%2")
def test_any_words_are_a_policy_of_one_spelling_or_refused(typed: str) -> None:
    try:
        policy = parse(True, typed)
    except UsageError:
        return
    assert parse(True, policy.rule) == policy and parse(True, policy.rule).rule == policy.rule
    assert policy.text.isascii() and policy.text.isprintable()


def test_the_more_specific_one_decides_first() -> None:
    said = [
        "deny from web to db:80",
        "allow from web to db",
        "deny from role=a to db",
        "allow from all to db:80",
        "deny from all to db",
        "allow from web to role=db",
        "allow from all to 10.2.0.0/24",
        "deny from web to 10.2.0.0/16",
        "allow from peer:h to 10.2.0.0/16",
        "deny from all to peer:h",
        "deny from web to all",
        "allow from web to all",
        "deny from all to all/icmp",
        "deny from all to all",
    ]
    policies = [parse(text.startswith("allow"), text.partition(" ")[2]) for text in said[::-1]]
    assert [policy.text for policy in sorted(policies, key=lambda policy: policy.order)] == said


def test_a_container_is_announced_by_words_that_selectors_take() -> None:
    names = names_of("Shop_DB", ["db.weave.local.", "Shop-DB.prod.weave.local.", "other.example."], "weave.local.")
    assert names == ("shop_db", "db", "other.example", "shop-db.prod")
    labels = labels_of({"b": "2", "a": "1", "long": "x" * 257, "blank": "a b", "odd": 7, "é": "x", "no": "\x1b"})
    assert labels == (("a", "1"), ("b", "2"))
    for name in names:
        assert parse(True, f"from {name} to all").source.text == name
    assert len(labels_of({f"k{n}": "v" for n in range(500)})) == 128
