"""What the daemon believes of the kernel's tables against what they hold; and rules of ports as keys and back."""

from hypothesis import given
from hypothesis import strategies as st

from overlay.datapath.audit import DEVICE, FORWARDING, NEIGHBOUR, ORDER, TableDifference, compare
from overlay.datapath.port_rules import PortRule, elements, parse, widened

_tables = st.dictionaries(
    st.sampled_from(ORDER), st.dictionaries(st.sampled_from("abcd"), st.sampled_from(("one", "two")), max_size=4)
)


def nothing(_table: str, _key: str) -> bool:
    return False


@given(_tables, _tables)
def test_mending_every_difference_leaves_none(
    believed: dict[str, dict[str, str]], found: dict[str, dict[str, str]]
) -> None:
    mended = {table: dict(values) for table, values in found.items()}
    for each in compare(believed, found, nothing):
        assert mended.get(each.table, {}).get(each.key, "") == each.found != each.believed
        if each.believed:
            mended.setdefault(each.table, {})[each.key] = each.believed
        else:
            del mended[each.table][each.key]
    assert compare(believed, mended, nothing) == ()


def test_differences_come_in_the_order_of_mending_and_say_what_was() -> None:
    believed = {NEIGHBOUR: {"10.0.1.3": "m"}, FORWARDING: {"m": "vxlan, sticky"}, DEVICE: {"weave": "up"}}
    found = {FORWARDING: {"m": "veth1, learned", "x": "vxlan, static"}}
    told = [str(each) for each in compare(believed, found, nothing)]
    assert told == [
        "device weave was missing",
        "bridge entry m was veth1, learned, not vxlan, sticky",
        "bridge entry x was there (vxlan, static)",
        "neighbour 10.0.1.3 was missing",
    ]


def test_what_others_may_have_is_left_alone() -> None:
    found = {FORWARDING: {"x": "eth9, learned", "m": "eth9, learned"}}
    differences = compare({FORWARDING: {"m": "vxlan, sticky"}}, found, lambda table, key: True)
    assert differences == (TableDifference(FORWARDING, "m", "vxlan, sticky", "eth9, learned"),)


_macs = st.binary(min_size=6, max_size=6).map(lambda octets: octets.hex(":"))
_addresses = st.lists(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str), unique=True, max_size=5)


@given(st.dictionaries(st.text("abcxyz0189", min_size=1, max_size=15), st.tuples(_macs, _addresses, st.booleans())))
def test_rules_of_ports_come_back_from_the_kernels_keys(drawn: dict[str, tuple[str, list[str], bool]]) -> None:
    rules = {port: PortRule(mac, tuple(addresses), free) for port, (mac, addresses, free) in drawn.items()}
    back = parse({name: tuple(keys) for name, keys in elements(rules).items()})
    assert {port: (rule.mac, set(rule.addresses), rule.free) for port, rule in back.items()} == {
        port: (rule.mac, set(rule.addresses), rule.free) for port, rule in rules.items()
    }


def test_a_rule_is_widened_to_both_unless_the_interface_is_another() -> None:
    before, after = PortRule("a", ("1", "2")), PortRule("a", ("2", "3"))
    assert widened(before, after) == PortRule("a", ("1", "2", "3"))
    assert widened(None, after) == widened(PortRule("b", ("1",)), after) == after
    assert widened(PortRule("a", (), free=True), after).free
