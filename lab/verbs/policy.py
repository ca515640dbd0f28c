"""`policy`: say which container may talk to which, or take it back."""

from collections.abc import Iterator
from functools import partial
from typing import Any, ClassVar

from pydantic import model_validator

from lab.contracts.fault import Bench
from lab.contracts.plan import Action, Detail
from lab.kinds.verbs import Chance, Drawn, Planning, Verb, Where
from lab.overlays.weave import weave_of
from lab.scenario.base import Model, Name, Problem, fault
from lab.scenario.check import Known
from overlay.errors import UsageError
from overlay.policy.words import Policy, parse


class SetPolicy(Model):
    """Say which container may talk to which, on a host (the first one): `weave allow` or `deny`; `remove` takes it
    back.

    `force`: though nobody is meant yet, or another policy says the opposite.
    """

    rule: str
    """`deny from A to B` or `allow from A to B [PORTS]` (docs/policy.md)."""
    host: Name | None = None
    """Where it is typed; the first host by default."""
    remove: bool = False
    """Take it back."""
    force: bool = False
    """Even if it matches no container yet."""

    short_schema: ClassVar[tuple[dict[str, Any], ...]] = ({"type": "string"},)

    @classmethod
    def expand(cls, value: Any) -> Any:
        return {"rule": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _understood(self) -> "SetPolicy":
        verb, _, rest = self.rule.partition(" ")
        if verb not in ("allow", "deny"):
            raise fault("`allow from X to Y` or `deny from X to Y`", self.rule)
        try:
            parse(verb == "allow", rest)
        except UsageError as error:
            raise fault("`allow from X to Y` or `deny from X to Y`", str(error)) from None
        return self

    @property
    def policy(self) -> Policy:
        """What it says."""
        verb, _, rest = self.rule.partition(" ")
        return parse(verb == "allow", rest)


async def _set(body: SetPolicy, bench: Bench) -> Detail:
    host = body.host or next(iter(bench.scenario.hosts))
    await weave_of(bench.overlay).policy(host, body.policy.text, remove=body.remove, force=body.force)
    return {"host": host, "policy": body.policy.text, "removed": body.remove}


class _Policy(Verb[SetPolicy]):
    name = "policy"
    model = SetPolicy
    form = "`policy: deny from all to db`, `{host, rule, remove: true}`"
    about = (
        "`weave deny` or `weave allow` on `host`, by default the first host (docs/policy.md); `force: true` sets a "
        "policy even if it matches no container yet. `converged` then expects what the policies allow"
    )
    examples = ("policy deny from all to web", "policy allow from web to db --host a")
    overlay_needs = "verb"
    changes = "end"
    odds = 1

    def check(self, where: Where, body: SetPolicy, known: Known) -> Iterator[Problem]:
        if body.host is not None:
            yield from known.host((*where, "host"), body.host)

    def plan(self, body: SetPolicy, planning: Planning) -> Action:
        return Action(f"policy {body.rule}{' (removed)' if body.remove else ''}", partial(_set, body))

    def draw(self, chance: Chance) -> Drawn | None:
        """Typed on one host and taken back there. No two are about the same, as each has an odd port of its own."""
        if not chance.policed:
            return None
        rng = chance.rng
        source, target = rng.choice((*chance.policed, "all")), rng.choice(chance.policed)
        ports = rng.choice((f":{20_001 + chance.number}", f":1-10000,{20_001 + chance.number}"))
        verb, host = rng.choice(("deny", "deny", "allow")), rng.choice(chance.hosts)
        rule = f"{verb} from {source} to {target}{ports}"
        undo = {"host": host, "rule": rule, "remove": True}
        return Drawn({"host": host, "rule": rule, "force": True}, undo={"policy": undo})


KIND = _Policy()
