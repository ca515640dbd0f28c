"""What is judged of flows that are known already: as the policy decides, rule by rule."""

from ipaddress import ip_address, ip_network
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from overlay.compiled_policy import CompiledPolicy, FlowRule
from overlay.kernel.policy_evaluator import PolicyEvaluator
from overlay.kernel.policy_keys import FLOWS, FlowKey, flow, key
from overlay.kernel.policy_rules import plan

ADDRESSES = ("10.0.0.1", "10.0.0.2", "10.0.1.1", "fd00::1", "fd00::2")
NETWORKS = ("10.0.0.0/24", "10.0.0.1/32", "10.0.1.0/24", "fd00::/64", "fd00::2/128")
NUMBERS: dict[str, tuple[int, int]] = {"tcp": (6, 6), "udp": (17, 17), "icmp": (1, 58)}

_PROTOCOLS: tuple[Literal["tcp", "udp", "icmp"], ...] = ("tcp", "udp", "icmp")
_sides = st.lists(st.sampled_from(NETWORKS), max_size=2, unique=True).map(lambda found: tuple(map(ip_network, found)))
_rules = st.builds(
    lambda accept, source, destination, protocol, ports: FlowRule(
        accept, source, destination, protocol, ports if protocol in ("tcp", "udp") else (), "any"
    ),
    st.booleans(),
    _sides,
    _sides,
    st.sampled_from((None, *_PROTOCOLS)),
    st.sampled_from(((), ((80, 80),), ((50, 60), (80, 90)))),
)
_policies = st.builds(
    CompiledPolicy,
    st.lists(_rules, max_size=5).map(tuple),
    st.booleans(),
    st.sampled_from(((), (ip_address("10.0.0.2"),))),
)


@given(_policies, st.sampled_from(ADDRESSES), st.sampled_from(ADDRESSES), st.sampled_from(_PROTOCOLS), st.data())
def test_it_judges_as_the_policy_decides(
    policy: CompiledPolicy, source: str, to: str, protocol: Literal["tcp", "udp", "icmp"], data: st.DataObject
) -> None:
    port = 0 if protocol == "icmp" else data.draw(st.sampled_from((53, 55, 80, 85, 100)))
    here, there = ip_address(source), ip_address(to)
    number = NUMBERS[protocol][here.version == 6]
    if here.version == there.version:
        known = FlowKey(here, there, number, 40000, port)
        assert PolicyEvaluator(policy).denies(known) != policy.decide(here, there, protocol, port)[0]


@given(st.sampled_from(ADDRESSES), st.sampled_from(("10.0.0.2", "fd00::2")), st.integers(0, 255), st.integers(0, 65535))
def test_keys_of_flows_come_back(source: str, to: str, protocol: int, port: int) -> None:
    here, there = ip_address(source), ip_address(to)
    if here.version == there.version:
        known = FlowKey(here, there, protocol, 65535 - port, port)
        assert flow(key(known)) == known
        (kept,) = (
            each for each in plan(CompiledPolicy(), (), conntrack=False).sets if each.name == FLOWS[here.version]
        )
        assert len(key(known)) == kept.length


@given(_policies, st.booleans())
def test_every_policy_is_a_plan_whose_sets_are_there(policy: CompiledPolicy, conntrack: bool) -> None:
    made = plan(policy, ("vethwel",), conntrack=conntrack)
    names = [each.name for each in made.sets]
    assert len(set(names)) == len(names) and made.elements.keys() <= set(names)
    assert made == plan(policy, ("vethwel",), conntrack=conntrack)
