"""Every key of a scenario says what it is: in the schema for editors, on the command line and in the page's forms."""

import json

from lab.kinds.verbs import verbs
from lab.scenario.field_docs import field_docs
from lab.scenario.link_spec import LinkSpec
from lab.scenario.load import json_schema
from lab.verbs.link import ChangeLink
from lab.watch.forms import form_of


def test_every_key_of_the_schema_has_a_description():
    schema = json.loads(json_schema())
    parts = [("the scenario", schema), *schema["$defs"].items()]
    bodies = [(name, body) for name, part in parts for body in (part, *part.get("anyOf", ()))]
    silent = [
        f"{name}.{key}"
        for name, body in bodies
        for key, value in body.get("properties", {}).items()
        if not value.get("description")
    ]
    assert not silent


def test_a_model_has_the_texts_of_the_classes_that_it_inherits_from_and_its_own():
    docs = field_docs(ChangeLink)
    assert docs["delay"] == field_docs(LinkSpec)["delay"] == "Time that each packet takes longer."
    assert docs["source"].startswith("Hosts that send") and docs["for_"]


def test_the_forms_of_all_verbs_have_them_without_markup():
    for verb in verbs().values():
        for field in form_of(verb).fields:
            assert field.about or not field.key, f"{verb.name}: {field.key}"
            assert "`" not in field.about
