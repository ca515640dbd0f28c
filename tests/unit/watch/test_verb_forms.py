"""The forms of the live page and of the terminal, derived from the verbs' models."""

from lab.kinds.overlays import OVERLAYS
from lab.kinds.verbs import verbs
from lab.watch.forms import VerbForm, forms

WEAVE = {form.verb: form for form in forms(verbs().values(), OVERLAYS.get("weave"))}


def kinds(form: VerbForm) -> dict[str, str]:
    return {field.key: field.kind for field in form.fields}


def test_every_verb_that_changes_something_has_a_form():
    weave = OVERLAYS.get("weave")
    wanted = {verb.name for verb in verbs().values() if verb.setup != "watch" and verb.allowed(weave)}
    assert set(WEAVE) == wanted


def test_an_overlay_without_daemons_has_fewer():
    plain = {form.verb for form in forms(verbs().values(), OVERLAYS.get("none"))}
    assert "partition" in plain
    assert "reset" not in plain


def test_names_of_hosts_and_services_are_choices():
    assert kinds(WEAVE["kill"]) == {
        "daemon": "host",
        "host": "host",
        "service": "service",
        "engine": "host",
        "live_restore": "switch",
        "farewell": "switch",
    }
    assert kinds(WEAVE["run"])["services"] == "services"
    assert kinds(WEAVE["reset"])["hosts"] == "hosts"


def test_a_partition_has_groups_and_ways():
    found = {field.key: field for field in WEAVE["partition"].fields}
    assert found["groups"].kind == "groups"
    assert [(each.key, each.kind, each.required) for each in found["one_way"].fields] == [
        ("from", "hosts", True),
        ("to", "hosts", True),
    ]
    assert found["ring"].choices == ("majorities",)
    assert "for" not in found
    assert WEAVE["partition"].lasts


def test_values_have_their_kinds_and_bounds():
    assert kinds(WEAVE["churn"]) == {
        "rate": "frequency",
        "every": "duration",
        "kind": "choice",
        "hosts": "hosts",
        "target": "choice",
        "crash": "percentage",
        "downtime": "duration",
        "keep": "number",
    }
    (to,) = (field for field in WEAVE["scale"].fields if field.key == "to")
    assert (to.kind, to.required, to.least, to.most) == ("number", True, 0, 10_000)
