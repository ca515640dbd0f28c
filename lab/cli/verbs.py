"""`lab partition`, `lab kill`, …: the verbs of the registry as commands on a running lab.

Owns the mapping of a verb's form (`lab.watch.forms`) to arguments and options, of these to a step, and the command's
name. Knows no verb by name; those of other packages are commands too. A verb is imported when its command is used.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from lab.registry import KindError, Registry
from lab.verbs import NO_COMMANDS, ORDER

if TYPE_CHECKING:
    from lab.kinds.verbs import Verb

__all__ = ["VerbCommand", "command_for", "verb_commands"]

_SERVICE = "-service"
"""Suffix of a verb's command if `lab` has another command of that name: `lab run-service web`."""
_WORDS = ("from", "to")
"""Optional fields that are nevertheless positional arguments: `lab connect a b`."""
_SAMPLES = {
    "host": "a",
    "hosts": "b",
    "service": "web",
    "services": "web",
    "groups": "a,b c",
    "number": "1200",
    "text": "10.32.9.1/24",
}
"""Sample values in examples."""
_LISTS = ("hosts", "services")
Offering = Callable[[str], Callable[..., Any]]
"""Returns a completer by the name of a function of `lab.cli.completing`."""


def verb_commands(taken: Mapping[str, object]) -> dict[str, str]:
    """Command -> verb; `taken` are the other commands. Imports no verb."""
    found = {}
    # Not the function of `lab.kinds.verbs`, whose import takes too long for `lab --help`.
    names: Registry[Any] = Registry("verb", object, "lab.verbs", first=ORDER)
    for name in names.names():
        if name in NO_COMMANDS:
            continue
        word = name.replace("_", "-")
        found[f"{word}{_SERVICE}" if word in taken else word] = name
    return found


def command_for(word: str, name: str, offering: Offering) -> click.Command:
    """The command of a verb, without the options that all of them have."""
    from lab.kinds.verbs import VERBS

    try:
        return VerbCommand(word, VERBS.get(name), offering)
    except KindError as error:
        return _broken(word, str(error))


def _broken(word: str, why: str) -> click.Command:
    def refuse(**_: Any) -> None:
        raise click.UsageError(why)

    return click.Command(word, callback=refuse, help=why, hidden=True)


class VerbCommand(click.Command):
    """One verb, carried out immediately in a running lab."""

    def __init__(self, word: str, verb: "Verb[Any]", offering: Offering) -> None:
        from lab.watch.forms import VerbForm, form_of

        self.verb = verb
        self.form: VerbForm = form_of(verb)
        self._short = _short_field(verb)
        words = [field for field in self.form.fields if self._is_word(field)]
        self._positional = sorted(words, key=lambda field: not field.required)
        params: list[click.Parameter] = []
        last = self._positional[-1] if self._positional else None
        for field in self._positional:
            many = field is last and (
                field.kind in (*_LISTS, "groups") or (field.kind, field.key) == ("text", self._short)
            )
            params.append(
                click.Argument(
                    [_variable(field)],
                    nargs=-1 if many else 1,
                    required=field.required,
                    type=_type(field),
                    metavar=_metavar(field, many),
                    shell_complete=_completer(field, offering),
                )
            )
        for field, flag in self._options():
            params.append(_option(field, flag, offering))
        if verb.takes_for:
            does = "It ends by itself after this time." if verb.lasts else "It must hold for this time."
            params.append(click.Option(["--for", "for_"], metavar="DURATION", help=does))
        about = _sentence(self.form.about)
        super().__init__(
            word,
            params=params,
            callback=None,
            help=f"{about}\n\nIn a scenario: {self.form.form}",
            short_help=about.partition(". ")[0].partition("; ")[0],
            epilog="\b\nExamples:\n" + "\n".join(f"  lab {line}".rstrip() for line in self._examples(word)),
        )

    def step(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The step for a command line."""
        found: dict[str, Any] = {}
        for field in self._positional:
            if (said := _said(field, values.get(_variable(field)))) is not None:
                found[field.key] = said
        for field, flag in self._options():
            value = values.get(_name(flag))
            if (said := _said(field, value)) is None:
                continue
            if field in self._positional and field.key in found:
                raise click.UsageError(f"found {found[field.key]!r} and --{flag} {value}, expected one of them")
            outer, _, inner = field.key.partition(".")
            if inner:
                if not isinstance(part := found.setdefault(outer, {}), dict):
                    raise click.UsageError(f"found --{_flag(outer)} together with --{flag}, expected one of them")
                part[inner] = said
            else:
                found[outer] = said
        body: Any = found
        short = next((field for field in self._positional if field.key == self._short), None)
        if short is not None and list(found) == [short.key]:
            body = found[short.key]  # the short form, as in a file
        elif short is not None and not found and short.kind in (*_LISTS, "choice"):
            body = "all"
        elif found == {_WORDS[0]: "all"}:
            body = "all"  # `lab connect all`
        duration = values.get("for_")
        return {self.verb.name: body, **({"for": duration} if duration else {})}

    def invoke(self, ctx: click.Context) -> Any:
        """Carry out the verb."""
        from lab.cli.hands import do

        return do(ctx, self)

    # Internals

    def _is_word(self, field: Any) -> bool:
        return field.required or field.kind == "groups" or field.key in (self._short, *_WORDS)

    def _options(self) -> Iterator[tuple[Any, str]]:
        """All other fields with their flags; the fields of a nested part have their own flags too."""
        import msgspec

        for field in self.form.fields:
            if field in self._positional and (field.required or field.kind not in ("host", "service")):
                continue
            yield field, _flag(field.key)  # `lab kill a` and `lab kill --daemon a`
            for inner in field.fields:
                key = f"{field.key}.{inner.key}"
                if inner.kind != "part":
                    yield msgspec.structs.replace(inner, key=key, required=False), _flag(key)

    def _examples(self, word: str) -> Iterator[str]:
        """Example lines: the arguments alone, and with the first option that has a sample value."""
        if self.verb.examples:
            yield from self.verb.examples
            return
        words = [_sample(field) for field in self._positional if field.required or field.key != "what"]
        tail = ["--for 10s"] if self.verb.lasts else []
        valued = next((f"--{flag} {field.example}" for field, flag in self._options() if field.example), "")
        yield " ".join([word, *words, *tail])
        if valued:
            yield " ".join([word, *words, valued])
        if not any(field.required for field in self.form.fields):
            for field, flag in self._options():
                if field.kind in ("host", "service") and "." not in field.key:
                    yield " ".join([word, f"--{flag} {_SAMPLES[field.kind]}", *tail])


def _short_field(verb: "Verb[Any]") -> str:
    """The field of the short form of a verb's body; empty if it has no short form, or one that names no field."""
    from lab.scenario.base import model_of

    model = model_of(verb.model)
    full = model.expand("all") if model is not None and model.short_schema else None
    return next(iter(full), "") if isinstance(full, dict) else ""


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _variable(field: Any) -> str:
    return f"word_{field.key}"


def _flag(key: str) -> str:
    return key.replace(".", "-").replace("_", "-")


def _name(flag: str) -> str:
    return f"option_{flag.replace('-', '_')}"


def _metavar(field: Any, many: bool) -> str:
    if field.kind == "groups":
        return "[GROUP...]"
    named = field.kind in (*_LISTS, "host", "service") and field.key not in _WORDS
    word = (field.kind.removesuffix("s") if named else field.key).upper()
    text = f"{word}{'...' if many else ''}"
    return text if field.required else f"[{text}]"


def _type(field: Any) -> Any:
    if field.kind == "number":
        return _number
    return click.Choice(field.choices) if field.kind == "choice" else None


def _number(value: str) -> Any:
    """A number, or a word in its place: the lab decides whether it is valid."""
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value


def _option(field: Any, flag: str, offering: Offering) -> click.Option:
    names = [f"--{flag}", _name(flag)]
    if field.kind == "switch":
        return click.Option(names, is_flag=True, default=None)
    bounds = [f"at least {field.least}"] if field.least is not None else []
    bounds += [f"at most {field.most}"] if field.most is not None else []
    if field.kind == "part":
        bounds = ["as in a scenario: a word, or {" + ", ".join(f"{one.key}: …" for one in field.fields) + "}"]
    elif field.example:
        bounds.insert(0, f"as {field.example}")
    does = f"{field.about.rstrip('.')}; {', '.join(bounds)}." if field.about and bounds else field.about
    does = does or _sentence(", ".join(bounds)) if bounds else does
    return click.Option(
        names,
        type=_type(field),
        metavar=None if field.kind == "choice" else _flag("network" if field.key == "network" else field.kind).upper(),
        help=does or None,
        shell_complete=_completer(field, offering),
    )


def _completer(field: Any, offering: Offering) -> Callable[..., Any] | None:
    offers = {"host": "only_hosts", "hosts": "only_hosts", "groups": "only_hosts", "service": "services"}
    offers |= {"services": "services"} | ({"hosts": "hosts"} if "." in field.key else {})
    return offering(offers[field.kind]) if field.kind in offers else None


def _said(field: Any, value: Any) -> Any:
    """A value of the command line in the form of a step; None if it was not given."""
    if value is None or value == ():
        return None
    if field.kind == "groups":
        return [_names(word) for word in value]
    if field.kind in _LISTS:
        names = [name for word in ([value] if isinstance(value, str) else value) for name in _names(word)]
        return names[0] if len(names) == 1 else names
    if field.kind == "part":
        return _yaml(value)
    if isinstance(value, tuple):
        return " ".join(value)
    return value


def _names(word: str) -> list[str]:
    return [name for name in word.split(",") if name]


def _yaml(text: str) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError:
        raise click.UsageError(f"found {text!r}, expected a word or a mapping as in a scenario") from None


def _sample(field: Any) -> str:
    if field.choices:
        return str(field.choices[0])
    return field.example or _SAMPLES.get(field.kind, "all")
