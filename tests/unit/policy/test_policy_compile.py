"""What policies become for a packet filter: the same as reading them one by one, and nothing about nobody."""

from ipaddress import ip_address, ip_network

from hypothesis import given, settings
from hypothesis import strategies as st

from lab.scenario.policies import judged
from overlay.compiled_policy import CompiledPolicy, FlowRule
from overlay.policy.advice import explain, objections
from overlay.policy.directory import WAITING, Directory, Member, compile_policies
from overlay.policy.words import Policy, parse


def member(name: str, *literals: str, peer: str = "p", labels: tuple[tuple[str, str], ...] = ()) -> Member:
    return Member(peer, f"host-{peer}", f"id-{name}", (name,), labels, literals)


MEMBERS = [
    member("web", "10.2.0.1", "fd00::1", labels=(("role", "front"),)),
    member("api", "10.2.0.2", peer="q", labels=(("role", "front"), ("env", "prod"))),
    member("db", "10.2.1.1", "fd00::2", peer="q", labels=(("env", "prod"),)),
    member("db", "10.3.0.1"),
]
DIRECTORY = Directory(MEMBERS)
SELECTORS = [
    "all",
    "web",
    "api",
    "db",
    "role=front",
    "env=prod",
    "10.2.0.0/16",
    "10.2.0.0/24",
    "10.2.0.2",
    "peer:host-q",
]
SELECTORS += ["fd00::/64", "nobody", "peer:p"]
TARGETS = [
    *SELECTORS,
    "db:80",
    "db:80-90,443/tcp",
    "all:53/udp",
    "role=front/icmp",
    "[fd00::/64]:80",
    "10.2.0.0/16:443",
]


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    while True:
        source, target = draw(st.sampled_from(SELECTORS)), draw(st.sampled_from(TARGETS))
        if not ("fd00" in source and "10." in target) and not ("10." in source and "fd00" in target):
            return parse(draw(st.booleans()), f"from {source} to {target}")


@settings(max_examples=300)
@given(
    st.lists(policies(), max_size=8, unique_by=lambda policy: policy.rule),
    st.sampled_from(MEMBERS),
    st.sampled_from(MEMBERS),
    st.sampled_from([0, 53, 80, 85, 443]),
    st.booleans(),
)
def test_a_packet_filter_decides_as_the_policies_read(
    said: list[Policy], source: Member, target: Member, port: int, accept_rest: bool
) -> None:
    compiled = compile_policies(said, DIRECTORY, accept_rest)
    assert compiled == compile_policies(said[::-1], Directory(MEMBERS[::-1]), accept_rest), "whatever the order"
    for one, other in zip(source.addresses, target.addresses, strict=False):
        # Selectors of addresses are about the packet's own, not about another one of the same container.
        ours = Member(source.peer, source.nickname, "", source.names, source.labels, (str(one),))
        theirs = Member(target.peer, target.nickname, "", target.names, target.labels, (str(other),))
        verdict = judged("tcp" if port else "icmp", port, ours, theirs, said)
        accept, rule = compiled.decide(one, other, "tcp" if port else "icmp", port)
        assert accept == (accept_rest if verdict is None else verdict)
        assert (rule is None) == (verdict is None)


def test_members_are_found_by_what_they_are_called() -> None:
    for text in SELECTORS:
        one = parse(True, f"from {text} to all").source
        assert DIRECTORY.find(one) == tuple(each for each in MEMBERS if each.fits(one)), text


def test_policies_about_nobody_are_left_out_and_never_become_all() -> None:
    said = [
        parse(False, "from nobody to all"),
        parse(True, "from all to nobody"),
        parse(False, "from fd00::/64 to api"),
    ]
    assert compile_policies(said, DIRECTORY, True) == CompiledPolicy()
    assert compile_policies(said, DIRECTORY, True).empty
    assert not compile_policies(said, DIRECTORY, False).empty


def test_rules_as_a_packet_filter_gets_them() -> None:
    said = [parse(False, "from all to db"), parse(True, "from role=front to db:80,443")]
    front = (ip_network("10.2.0.1"), ip_network("10.2.0.2"), ip_network("fd00::1"))
    db = (ip_network("10.2.1.1"), ip_network("10.3.0.1"), ip_network("fd00::2"))
    assert compile_policies(said, DIRECTORY, True, (ip_address("172.17.0.1"),)) == CompiledPolicy(
        (
            FlowRule(
                True, (ip_network("10.2.0.1/32"), front[1], front[2]), db, "tcp", ((80, 80), (443, 443)), said[1].text
            ),
            FlowRule(
                True, (ip_network("10.2.0.1/32"), front[1], front[2]), db, "udp", ((80, 80), (443, 443)), said[1].text
            ),
            FlowRule(False, (), db, None, (), said[0].text),
        ),
        True,
        (ip_address("172.17.0.1"),),
    )


def test_nothing_passes_to_a_container_that_the_engine_has_not_named_yet() -> None:
    unnamed = Member("p", "host-p", "weave:plugin:abc", (), (), ("10.2.0.9",))
    directory = Directory([*MEMBERS, unnamed])
    compiled = compile_policies([parse(False, "from all to db")], directory, True)
    assert [rule.name for rule in compiled.rules[:2]] == [WAITING, WAITING]
    nine, web, api = ip_address("10.2.0.9"), ip_address("10.2.0.1"), ip_address("10.2.0.2")
    assert not compiled.decide(nine, web, "tcp", 80)[0] and not compiled.decide(web, nine, "tcp", 80)[0]
    assert compiled.decide(web, api, "tcp", 80)[0]
    assert compile_policies([parse(False, "from 10.3.0.0/16 to all")], directory, True).rules[0].name != WAITING


def test_the_overlay_s_own_name_server_is_never_cut() -> None:
    here = ip_address("172.17.0.1")
    compiled = compile_policies([parse(False, "from all to all")], DIRECTORY, False, (here,))
    web = ip_address("10.2.0.1")
    assert compiled.decide(web, here, "udp", 53) == compiled.decide(web, here, "tcp", 53) == (True, None)
    assert not compiled.decide(web, here, "tcp", 80)[0]
    assert not compiled.decide(web, ip_address("10.2.1.1"), "udp", 53)[0]


def said_against(text: str, others: tuple[str, ...] = ()) -> list[str]:
    def read(each: str) -> Policy:
        return parse(each.startswith("allow"), each.partition(" ")[2])

    protected = (ip_address("172.17.0.1"),)
    return list(objections(read(text), [read(other) for other in others], DIRECTORY, protected))


def test_what_is_probably_not_meant_is_said_before() -> None:
    assert said_against("deny from all to db") == []
    assert said_against("deny from wbe to db") == ["no container is called `wbe`, did you mean `web`?"]
    assert said_against("deny from role=fornt to db") == [
        "no container has the label `role=fornt`, did you mean `role=front`?"
    ]
    assert said_against("deny from peer:hots-p to db") == [
        "no peer with containers is called `hots-p`, did you mean `peer:host-p`?"
    ]
    assert said_against("deny from 203.0.113.0/24 to db") == []


def test_contradictions_are_said_before() -> None:
    (said,) = said_against("deny from web to db", ("allow from web to db", "allow from web to all"))
    assert said == "`allow from web to db` says the opposite, and would be replaced"
    (said,) = said_against("deny from env=prod to db", ("allow from role=front to db",))
    assert said == (
        "`allow from role=front to db` is as specific and says the opposite of api to db; "
        "where both match, deny decides"
    )
    assert said_against("deny from web to db", ("allow from api to db",)) == []
    assert len(said_against("deny from all to db:5000-6000", ("allow from all to db:5432",))) == 1
    assert said_against("deny from all to db:5000-6000/udp", ("allow from all to db:5432/tcp",)) == []


def test_policies_about_the_name_server_are_said_before() -> None:
    (said,) = said_against("deny from all to all:53")
    assert said.startswith(
        "it is about the name server of every container: the overlay's own DNS answers in spite of it"
    )
    (said,) = said_against("deny from all to 172.17.0.0/16")
    assert said == "the overlay's own DNS answers at 172.17.0.1 and no policy cuts it: this one has no effect there"
    assert said_against("deny from all to 172.17.0.0/16:80") == []
    assert said_against("allow from all to all:53") == []


def test_explain_names_the_policy_that_decides() -> None:
    said = [parse(False, "from all to db"), parse(True, "from web to db:80/tcp")]
    filters = {
        "p": compile_policies(said, DIRECTORY, True),
        "q": compile_policies(said, DIRECTORY, False),
    }
    web, api, db = MEMBERS[0], MEMBERS[1], MEMBERS[3]
    assert explain([web], [db], filters, "p", [("tcp", 80)]) == [
        "web (10.2.0.1) to db (10.3.0.1) tcp port 80: allowed by `allow from web to db:80/tcp`"
    ]
    assert explain([api], [db], filters, "p", [("udp", 80)]) == [
        "api (10.2.0.2) to db (10.3.0.1) udp port 80: denied by `deny from all to db`"
    ]
    assert explain([web], [db], filters, "p", [(None, 0)]) == [
        "web (10.2.0.1) to db (10.3.0.1): denied by `deny from all to db`; but `allow from web to db:80/tcp`"
    ]
    assert explain([db], [web], filters, "p", [("tcp", 1)]) == [
        "db (10.3.0.1) to web (10.2.0.1) tcp port 1: allowed by default"
    ]
    # One of the two hosts is closed: that is enough.
    assert explain([web], [api], filters, "p", [("tcp", 1)]) == [
        "web (10.2.0.1) to api (10.2.0.2) tcp port 1: denied by default (--default-deny)"
    ]
    assert explain([ip_address("203.0.113.9")], [db], filters, "p", [("tcp", 80)]) == [
        "203.0.113.9 to db (10.3.0.1) tcp port 80: denied by `deny from all to db`"
    ]
