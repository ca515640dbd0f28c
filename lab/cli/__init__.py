"""The `lab` command. Owns the words, options and exit codes; what they do is in the modules next to this one.

    first.py  init, scenarios: for somebody who has no scenario yet
    play.py   run: a scenario from its file to its report
    drive.py  drive: a run whose steps come from another program
    live.py   up: a lab that stays
    standing.py  down, inspect, exec, shell: reach it from any terminal
    capture.py  capture: packets of a running lab for Wireshark
    hands.py  status, undo, and each verb: what is done in a running lab from another terminal
    verbs.py  the verbs of the registry as commands
    saving.py save: what was done by hand as a scenario
    watch.py  watch: a running lab on a live page, or in the terminal
    many.py   sweep, compare, fidelity: many runs together
    artifact.py    artifact: what an artifact evaluation asks for, written and replayed
    experiment.py  experiment: from a question to the figures of a paper
    explore.py  explore: random faults, until something breaks
    workshop.py   the walk-through, typed and checked
    images.py     images of hosts that run a Docker Engine, and the box of real machines
    runs.py   runs: every stored run
    files.py  validate, schema, check, report, doctor: nothing is started
    compiled.py  compile: the cores as machine code
    completing.py  completion: what the shell offers
    man.py    manual pages, made from what is here
    replay.py replay: a run in virtual time again, compared byte for byte
    tell.py   what is printed while a scenario is played
    table.py  tables: as wide as the terminal, never cut
    terminal.py  standard output: what it can show, and what became of it
    ending.py how exceptions become exit codes

Nothing is imported before it is used: a lab enters its namespaces before numpy and its threads are loaded, and `lab
--help` answers at once. Exit codes: 0 valid, 1 invalid, 2 usage or bad scenario, 3 unknown or interrupted.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from lab.kinds.backends import DEFAULT

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


def _examples(*commands: str) -> str:
    """The end of a command's help: lines that can be typed as they are."""
    return "\b\nExamples:\n" + "\n".join(f"  {command}" for command in commands)


def _offering(what: str) -> Callable[[click.Context, click.Parameter, str], list["CompletionItem"]]:
    """What the shell offers there: a function of `lab.cli.completing` by name."""

    def complete(context: click.Context, param: click.Parameter, typed: str) -> list["CompletionItem"]:
        from lab.cli import completing

        found: list[CompletionItem] = getattr(completing, what)(context, param, typed)
        return found

    return complete


class ScenarioPath(click.Path):
    """A scenario's file, or the name of a packaged one."""

    name = "scenario"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The file."""
        from lab.scenario.packaged import named

        return value if isinstance(value, Path) else named(value)


def _backend(default: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(
        "--backend",
        default=default,
        show_default=True,
        envvar="LAB_BACKEND",
        help="What hosts are made of.",
        shell_complete=_offering("backends"),
    )


_SCENARIO = click.argument("scenario", type=ScenarioPath(), shell_complete=_offering("scenarios"))
_SEED = click.option("--seed", type=click.IntRange(min=0), envvar="LAB_SEED", help="Instead of the scenario's own.")
_PACE = click.option(
    "--pace",
    type=click.IntRange(1, 100),
    envvar="LAB_PACE",
    help="On a slow machine: every time that the scenario says is this many times as long.",
)
_OUT = click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="reports",
    show_default=True,
    envvar="LAB_OUT",
    help="Where run directories go: OUT/<scenario>/<time>.",
)
_CAPTURE = click.option(
    "--capture",
    "captures",
    multiple=True,
    metavar="WHERE",
    help="Write all packets of a host, a service, A->B or `all` hosts to the run directory; repeatable.",
    shell_complete=_offering("hosts"),
)


def _allow(ctx: click.Context, param: click.Parameter, given: tuple[str, ...]) -> None:
    """Let code be imported that a scenario names."""
    if given:
        from lab.foreign_code import allow

        for one in given:
            allow(one)


_PROTOCOL = click.option(
    "--protocol",
    multiple=True,
    metavar="FILE.py:CLASS",
    expose_value=False,
    callback=_allow,
    help="Allow `overlay.kind` to be this class (or MODULE:CLASS): its code runs as you. Repeatable.",
)
_RUN = click.argument("run_dir", metavar="RUN", shell_complete=_offering("runs"))
_NAME = click.option(
    "--name", default="", envvar="LAB_NAME", help="Which lab, when several run.", shell_complete=_offering("labs")
)
_STYLE = click.option(
    "--style",
    type=click.Choice(("screen", "paper")),
    default="screen",
    show_default=True,
    help="Of these pictures: `paper` has the widths of columns (84 and 178 mm), and fonts to match.",
)
_JSON = click.option("--json", "as_json", is_flag=True, envvar="LAB_JSON", help="Print one JSON object.")


class _LabGroup(click.Group):
    """The commands of `lab`: those that are defined here, and one for each verb, which is made when it is asked for."""

    def verbs(self) -> dict[str, str]:
        """Command -> verb."""
        from lab.cli.verbs import verb_commands

        return verb_commands(self.commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """See `click.Group`."""
        found = super().get_command(ctx, cmd_name)
        if found is None and (verb := self.verbs().get(cmd_name)) is not None:
            from lab.cli.verbs import command_for

            return _JSON(_NAME(command_for(cmd_name, verb, _offering)))
        return found

    def list_commands(self, ctx: click.Context) -> list[str]:
        """See `click.Group`; these are offered by the shell."""
        return [*super().list_commands(ctx), *sorted(self.verbs())]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The defined commands each with its help; of the verbs the names, for their help must not be imported."""
        verbs = self.verbs()
        room = formatter.width - 6 - max(map(len, self.commands))
        with formatter.section("Commands"):
            formatter.write_dl([(name, one.get_short_help_str(room)) for name, one in sorted(self.commands.items())])
        with formatter.section("In a running lab (`lab VERB --help` says more)"):
            formatter.write_text(", ".join(sorted(verbs)))


@click.group(
    cls=_LabGroup,
    epilog=_examples("lab run walkthrough", "lab run --help", "lab doctor"),
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="overlay-lab")
def lab() -> None:
    """Deploy an overlay network on simulated hosts, break what is underneath, and see what happens."""


@lab.command(epilog=_examples("lab init", "lab init my-lab"))
@click.argument("folder", default=".", type=click.Path(path_type=Path))
def init(folder: Path) -> None:
    """Write a first scenario into FOLDER (here, unless told otherwise), and say what to type next."""
    from lab.cli.first import write_first

    write_first(folder)


@lab.command(epilog=_examples("lab scenarios"))
@_JSON
def scenarios(as_json: bool) -> None:
    """List the scenarios that come with the lab; their names can stand for SCENARIO."""
    from lab.cli.first import list_scenarios

    list_scenarios(as_json=as_json)


@lab.command(
    epilog=_examples(
        "lab run walkthrough", "lab run mine.yaml --backend sim", "lab run mine.yaml --seed 7 --out /tmp/runs --json"
    )
)
@_SCENARIO
@_backend(DEFAULT)
@_SEED
@_PACE
@_OUT
@click.option("--json", "as_json", is_flag=True, envvar="LAB_JSON", help="End with one line of JSON.")
@click.option("--keep", is_flag=True, envvar="LAB_KEEP", help="Leave the lab running (`lab down` ends it).")
@click.option(
    "--no-figures", is_flag=True, envvar="LAB_NO_FIGURES", help="Only history and summary (`lab report` draws later)."
)
@_CAPTURE
@click.option("--trace", is_flag=True, envvar="LAB_TRACE", help="On sim: every message and delivery, in Parquet.")
@_PROTOCOL
def run(
    scenario: Path,
    backend: str,
    seed: int | None,
    pace: int | None,
    out: Path,
    as_json: bool,
    keep: bool,
    no_figures: bool,
    captures: tuple[str, ...],
    trace: bool,
) -> None:
    """Play SCENARIO: bring its hosts up, follow its timeline, write a report."""
    from lab.cli.play import play

    sys.exit(
        play(
            scenario,
            backend=backend,
            seed=seed,
            pace=pace,
            out=out,
            as_json=as_json,
            keep=keep,
            figures=not no_figures,
            captures=captures,
            trace=trace,
        )
    )


@lab.command(epilog=_examples("lab up mine.yaml", "lab up partition --name mine"))
@_SCENARIO
@_backend(DEFAULT)
@_SEED
@_PACE
@_OUT
@click.option("--name", default="", envvar="LAB_NAME", help="What to call the lab; the scenario's name by default.")
@_CAPTURE
def up(
    scenario: Path,
    backend: str,
    seed: int | None,
    pace: int | None,
    out: Path,
    name: str,
    captures: tuple[str, ...],
) -> None:
    """Bring up the lab of SCENARIO and leave it running, its first launch, connect and run steps done."""
    from lab.cli.live import bring_up

    sys.exit(bring_up(scenario, backend=backend, seed=seed, pace=pace, name=name, out=out, captures=captures))


@lab.command(
    short_help="Play a scenario whose steps come from standard input.",
    epilog=_examples("lab drive partition --backend sim"),
)
@_SCENARIO
@_backend(DEFAULT)
@_SEED
@_PACE
@_OUT
@_PROTOCOL
def drive(scenario: Path, backend: str, seed: int | None, pace: int | None, out: Path) -> None:
    """Bring up the lab of SCENARIO and obey steps from standard input, one JSON object a line (docs/api.md).

    The steps take the place of SCENARIO's timeline from its first fault or change on. `{"step": {"kill": "a"}}` is
    answered by one line on standard output; at the input's end the lab goes down, and the run is written as by `lab
    run`.
    """
    from lab.cli.drive import drive

    sys.exit(drive(scenario, backend=backend, seed=seed, pace=pace, out=out))


@lab.command(epilog=_examples("lab down", "lab down --name mine"))
@_NAME
def down(name: str) -> None:
    """End a lab; nothing of it stays."""
    from lab.cli.standing import take_down

    take_down(name)


@lab.command(epilog=_examples("lab inspect", "lab inspect --name mine --json"))
@_NAME
@_JSON
def inspect(name: str, as_json: bool) -> None:
    """Show the hosts of a lab: address, state, peer, connections, containers."""
    from lab.cli.standing import show

    show(name, as_json=as_json)


@lab.command(epilog=_examples("lab status", "lab status --name mine --json"))
@_NAME
@_JSON
def status(name: str, as_json: bool) -> None:
    """Show what is in force in a running lab: each fault, who made it, since when and until when."""
    from lab.cli.hands import status

    status(name, as_json=as_json)


@lab.group()
def add() -> None:
    """Add a host to a running lab."""


@add.command("host", epilog=_examples("lab add host d", "lab add host d --network lan"))
@click.argument("host")
@click.option("--network", help="Of the scenario's; its first one unless told otherwise.")
@_NAME
@_JSON
def add_host(host: str, network: str | None, name: str, as_json: bool) -> None:
    """Let a host of this name join a running lab: cables, container engine, the overlay launched and connected."""
    from lab.cli.hands import change_hosts

    change_hosts(name, "add_host", host, network, as_json=as_json)


@lab.group()
def remove() -> None:
    """Remove a host from a running lab (`lab remove-service` removes containers)."""


@remove.command("host", epilog=_examples("lab remove host d"))
@click.argument("host", shell_complete=_offering("only_hosts"))
@_NAME
@_JSON
def remove_host(host: str, name: str, as_json: bool) -> None:
    """Let a host leave a running lab: the overlay is reset there, then its power and its cables are cut."""
    from lab.cli.hands import change_hosts

    change_hosts(name, "remove_host", host, None, as_json=as_json)


@lab.command(epilog=_examples("lab save lesson.yaml", "lab save lesson.yaml --run partition/latest"))
@click.argument("file", type=click.Path(path_type=Path))
@_NAME
@click.option("--run", default="", help="Of a lab that is gone: its run.", shell_complete=_offering("runs"))
@_JSON
def save(file: Path, name: str, run: str, as_json: bool) -> None:
    """Write what was done by hand in a running lab to FILE, as a scenario with its times that replays."""
    from lab.cli.saving import save

    save(file, name, run, as_json=as_json)


@lab.command(epilog=_examples("lab undo", "lab undo 7"))
@click.argument("step", required=False, type=click.IntRange(min=1), shell_complete=_offering("faults"))
@_NAME
@_JSON
def undo(step: int | None, name: str, as_json: bool) -> None:
    """Take back the last step by hand in a running lab, or STEP: a fault ends; attach, detach, run, remove and scale
    are answered by the opposite step. Nothing else can be taken back."""
    from lab.cli.hands import undo

    undo(name, step, as_json=as_json)


@lab.command(epilog=_examples("lab watch", "lab watch mine --open", "lab watch --tui"))
@click.argument("lab_name", metavar="[NAME]", required=False, default="", shell_complete=_offering("labs"))
@_NAME
@click.option("--tui", is_flag=True, help="In this terminal instead of on a page.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Of the page [default: any that is free].")
@click.option("--open", "browser", is_flag=True, help="Open the page in the browser.")
@click.option("--read-only", is_flag=True, envvar="LAB_READ_ONLY", help="No address that may change the lab.")
@click.option(
    "--listen",
    metavar="ADDRESS",
    default="",
    help="An address of this machine where a class may look on.",
)
def watch(lab_name: str, name: str, tui: bool, port: int, browser: bool, read_only: bool, listen: str) -> None:
    """Show a running lab on a live page, with buttons for every verb; or, with --tui, in this terminal.

    The page is served on loopback until Ctrl-C. It prints two addresses: one for your hands, and one to look on.
    """
    from lab.cli.watch import watch

    if lab_name and name and lab_name != name:
        raise click.UsageError(f"found two labs, {lab_name} and --name {name}, expected one")
    watch(lab_name or name, port=port, listen=listen, read_only=read_only, browser=browser, tui=tui)


@lab.command(
    "exec",
    context_settings={"ignore_unknown_options": True},
    epilog=_examples("lab exec alpha -- weave status", "lab exec web-1 -- ip address"),
)
@click.argument("host", shell_complete=_offering("hosts"))
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@_NAME
def execute(host: str, command: tuple[str, ...], name: str) -> None:
    """Run COMMAND on HOST, or in the container of a service of that name: lab exec orion.local -- weave status."""
    from lab.cli.standing import enter

    sys.exit(enter(host, command, name))


@lab.command(epilog=_examples("lab shell alpha", "lab shell web-1 --name mine"))
@click.argument("host", shell_complete=_offering("hosts"))
@_NAME
def shell(host: str, name: str) -> None:
    """Open a shell on HOST, or in the container of a service."""
    from lab.cli.standing import SHELL, enter

    sys.exit(enter(host, SHELL, name))


def _print_dissector(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from lab.capture.dissector import dissector

        click.echo(dissector(), nl=False)
        context.exit()


@lab.command(
    epilog=_examples(
        "lab capture alpha -w alpha.pcapng",
        "lab capture web -w - | wireshark -k -i -",
        "lab capture 'alpha->beta' -w wire.pcapng --for 10s udp port 6783",
        "lab capture --dissector > overlay.lua",
    )
)
@click.argument("where", shell_complete=_offering("hosts"))
@click.argument("words", nargs=-1, metavar="[FILTER]")
@click.option("-w", "--write", "to", default="", metavar="FILE", help="Where to, as pcapng; - is standard output.")
@click.option(
    "-i",
    "--interface",
    "interfaces",
    multiple=True,
    help="This one; repeatable. [default: a host's cables, all of a container; `any`]",
)
@click.option("--for", "lasting", default="", metavar="TIME", help="Until so long after the beginning, as 10s.")
@click.option("--limit", "most", default=100, show_default=True, type=click.IntRange(min=1), help="MB of the file.")
@click.option(
    "--dissector",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_dissector,
    help="Print the Wireshark dissector (Lua) of the overlay's protocol, and do nothing else.",
)
@_NAME
def capture(
    where: str, words: tuple[str, ...], to: str, interfaces: tuple[str, ...], lasting: str, most: int, name: str
) -> None:
    """Capture the packets of a running lab at WHERE: a host, a service's container, or what two hosts exchange (A->B).

    FILTER is in the words of tcpdump, which compiles it. Ctrl-C ends it, as does the end of the lab.
    """
    from lab.cli.capture import capture as work
    from lab.cli.option_values import duration

    seconds = duration("--for", lasting) / 1e9 if lasting else 0.0
    path = Path(to) if to not in ("", "-") else None
    sys.exit(work(where, words, name=name, to=path, interfaces=interfaces, seconds=seconds, most=most * 1_000_000))


@lab.command(
    epilog=_examples(
        "lab sweep partition --seeds 200",
        "lab sweep mine.yaml --seeds 20 --set topology.hosts=8,16,32 --set overlay.gossip_interval=5s,15s",
    )
)
@_SCENARIO
@click.option("--seeds", default="20", show_default=True, help="How many, as 200, or which, as 1-50,77.")
@click.option("--set", "settings", multiple=True, metavar="PATH=V1,V2", help="Values of a parameter; repeatable.")
@_backend("sim")
@click.option("--out", type=click.Path(path_type=Path), help="The sweep's directory [default: reports/SCENARIO/sweep].")
@click.option("--jobs", type=click.IntRange(min=1), help="Runs at once on this machine [default: its cores].")
@click.option(
    "--scheduler", default="", metavar="tcp://…", help="Play them on the workers of a Dask scheduler instead."
)
@click.option("--format", "formats", default="", metavar="FORMATS", help="Also write the figures as svg, pdf or both.")
@_STYLE
@_JSON
@_PROTOCOL
def sweep(
    scenario: Path,
    seeds: str,
    settings: tuple[str, ...],
    backend: str,
    out: Path | None,
    jobs: int | None,
    scheduler: str,
    formats: str,
    style: str,
    as_json: bool,
) -> None:
    """Play SCENARIO many times: with many seeds, and with every combination of parameter values.

    A PATH is that of the scenario file (probes.0.every); topology.X is short for underlay.generate.X, overlay.X for an
    option of the overlay: --set topology.hosts=8,16,32 --set overlay.gossip_interval=5s,15s. Runs that are in OUT
    already are not played again.
    """
    from lab.cli.sweep import run_sweep

    code = run_sweep(
        scenario,
        seeds=seeds,
        settings=settings,
        backend=backend,
        out=out,
        jobs=jobs,
        scheduler=scheduler,
        formats=formats,
        style=style,
        as_json=as_json,
    )
    sys.exit(code)


@lab.group("overlay")
def overlays() -> None:
    """The overlays that a scenario may name, and whether one does what an overlay must (docs/overlays.md)."""


@overlays.command("list", epilog=_examples("lab overlay list"))
@_JSON
def overlay_list(as_json: bool) -> None:
    """List all overlays, their variants, and what must be installed for them."""
    from lab.cli.overlay import list_overlays

    list_overlays(as_json=as_json)


@overlays.command(
    "check",
    epilog=_examples(
        "lab overlay check tinc", "lab overlay check nebula:tuned", "lab overlay check ./my-overlay --only reach,cut"
    ),
)
@click.argument("name", required=False)
@click.option("--only", multiple=True, metavar="A,B", help="Play these trials only.")
@click.option("--list", "list_only", is_flag=True, help="List the trials, play none.")
@_SEED
@click.option("--out", type=click.Path(path_type=Path), help="Where runs and page go [default: reports/overlays/NAME].")
@_JSON
def overlay_check(
    name: str | None, only: tuple[str, ...], list_only: bool, seed: int | None, out: Path | None, as_json: bool
) -> None:
    """Play the trials that every overlay must pass on NAME: an overlay of `lab overlay list`, with its defaults (tinc),
    a variant (nebula:tuned) or options (wireguard:keepalive=1), or a program's path.

    Exit codes: 0 all passed, 1 one failed, 3 the machine was too busy for one.
    """
    from lab.cli.overlay import check, list_trials

    if list_only:
        list_trials(as_json=as_json)
        return
    if name is None:
        raise click.UsageError("NAME is missing: an overlay of `lab overlay list`, or a program's path")
    sys.exit(check(name, only=only, seed=seed, out=out, as_json=as_json))


@lab.command(
    epilog=_examples(
        "lab league --list",
        "lab league --entries weave,tinc --questions cut-5,killed --repeats 3",
        "lab league --entries ./mine@v1,./mine@v2",
    )
)
@click.option(
    "--entries",
    multiple=True,
    metavar="A,B",
    help="Overlays: KIND, KIND:VARIANT, KIND:key=value, PROGRAM, each with @VERSION [default: all that can run here].",
)
@click.option("--questions", multiple=True, metavar="Q,R", help="Questions [default: all].")
@click.option("--repeats", type=int, metavar="N", help="Repeats of each question [default: 20 below 15 s, else 5].")
@click.option(
    "--jobs",
    default=6,
    show_default=True,
    metavar="LABS",
    help="Labs at once, of questions whose hosts are idle; others are played alone.",
)
@click.option(
    "--again", metavar="PART", help="Play a random part of the cells again (1/3, all), and say which do not agree."
)
@click.option(
    "--hours",
    type=float,
    metavar="H",
    help="After this time play nothing more than five times [default: all].",
)
@click.option("--backend", default="netns", show_default=True, help="Where hosts run; `dind` has Docker Engines.")
@click.option("--list", "only_list", is_flag=True, help="List questions and entries; play nothing.")
@click.option("--out", type=click.Path(path_type=Path), help="Where all goes [default: reports/league].")
@click.option(
    "--document", type=click.Path(path_type=Path, dir_okay=False), help="Also write the table here, in Markdown."
)
@_JSON
def league(
    entries: tuple[str, ...],
    questions: tuple[str, ...],
    repeats: int | None,
    jobs: int,
    again: str | None,
    hours: float | None,
    backend: str,
    only_list: bool,
    out: Path | None,
    document: Path | None,
    as_json: bool,
) -> None:
    """Put the same questions to many overlays on real packets, and rank them by what containers saw.

    Runs that are done are not played again: after an interruption the same command goes on. Needs root rights, or
    user namespaces, as `lab run` does (docs/overlays.md).

    Exit codes: 0 all runs are done, 3 interrupted, or a run said nothing.
    """
    from lab.cli.league import league as play_league
    from lab.cli.league import list_league

    if only_list:
        list_league(backend, as_json=as_json)
        return
    code = play_league(
        entries,
        questions,
        repeats=repeats,
        jobs=jobs,
        again=again,
        hours=hours,
        backend=backend,
        out=out,
        into=document,
        as_json=as_json,
    )
    sys.exit(code)


@lab.group()
def experiment() -> None:
    """Answer a question with as many runs as it takes, and write what a paper needs (docs/experiments.md)."""


_FILE = click.argument("file", type=click.Path(path_type=Path))
_EXPERIMENT_OUT = click.option(
    "--out", type=click.Path(path_type=Path), help="The experiment's directory [default: reports/experiments/NAME]."
)


@experiment.command("run", epilog=_examples("lab experiment run experiments/heal-after-cut.yaml"))
@_FILE
@_EXPERIMENT_OUT
@click.option("--jobs", type=click.IntRange(min=1), help="Runs at once on this machine [default: its cores].")
@click.option(
    "--scheduler", default="", metavar="tcp://…", help="Play them on the workers of a Dask scheduler instead."
)
@click.option("--amend", is_flag=True, help="Take hypotheses that were changed after runs; the report shows both.")
@_JSON
def experiment_run(file: Path, out: Path | None, jobs: int | None, scheduler: str, amend: bool, as_json: bool) -> None:
    """Play FILE until every interval is as narrow as it asks; runs that are done are not played again.

    Exit codes: 0 all hypotheses are supported, 1 one is refuted, 3 undecided, too wide or interrupted.
    """
    from lab.cli.experiment import run

    sys.exit(run(file, out=out, jobs=jobs, scheduler=scheduler, amend=amend, as_json=as_json))


@experiment.command("status", epilog=_examples("lab experiment status experiments/heal-after-cut.yaml"))
@_FILE
@_EXPERIMENT_OUT
@_JSON
def experiment_status(file: Path, out: Path | None, as_json: bool) -> None:
    """Say how far the experiment of FILE is, and how wide its intervals are."""
    from lab.cli.experiment import status

    sys.exit(status(file, out=out, as_json=as_json))


@experiment.command("report", epilog=_examples("lab experiment report experiments/heal-after-cut.yaml"))
@_FILE
@_EXPERIMENT_OUT
@_JSON
def experiment_report(file: Path, out: Path | None, as_json: bool) -> None:
    """Write the page and paper/ of the experiment of FILE again, from the runs that are there."""
    from lab.cli.experiment import report

    sys.exit(report(file, out=out, as_json=as_json))


class _ArtifactGroup(click.Group):
    """`lab artifact FILE` writes; `lab artifact check DIR` is a command of its own."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """What is no command is a file to write the artifact of."""
        known = args and args[0] in self.commands
        return super().resolve_command(ctx, args if known else ["write", *args])


@lab.group(cls=_ArtifactGroup)
def artifact() -> None:
    """Write what an artifact evaluation asks for, and replay it: `lab artifact FILE`, `lab artifact check DIR`."""


@artifact.command("write", epilog=_examples("lab artifact write experiments/heal-after-cut.yaml --out ours"))
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--runs", type=click.Path(path_type=Path), help="The experiment's directory, as `lab experiment --out`.")
@click.option("--out", type=click.Path(path_type=Path), help="Where it goes [default: reports/artifacts/NAME].")
@click.option("--author", "authors", multiple=True, metavar="NAME", help="For CITATION.cff; may be repeated.")
@_JSON
def artifact_write(file: Path, runs: Path | None, out: Path | None, authors: tuple[str, ...], as_json: bool) -> None:
    """Write the artifact of the experiment FILE, or of a description of benchmarks: claims with their commands, costs
    and tolerances, a container recipe, CITATION.cff, RO-Crate, data and code."""
    from lab.cli.artifact import write_artifact

    sys.exit(write_artifact(file, runs=runs, out=out, authors=authors, as_json=as_json))


@artifact.command("check", epilog=_examples("lab artifact check reports/artifacts/heal-after-cut"))
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--claim", "names", multiple=True, metavar="NAME", help="Replay these only; may be repeated.")
@click.option("--all", "everything", is_flag=True, help="Replay those too that take long or need packets.")
@_JSON
def artifact_check(folder: Path, names: tuple[str, ...], everything: bool, as_json: bool) -> None:
    """Replay the artifact in DIR and print each claim as reproduced or not.

    Exit codes: 0 all that was run is reproduced, 1 something is not, 3 nothing was run.
    """
    from lab.cli.artifact import check_artifact

    sys.exit(check_artifact(folder, names=names, everything=everything, as_json=as_json))


@lab.command(epilog=_examples("lab fidelity partition --seeds 3"))
@_SCENARIO
@click.option("--seeds", default="5", show_default=True, help="How many, as 5, or which, as 1-3,7.")
@click.option(
    "--against",
    default=DEFAULT,
    show_default=True,
    help="The backend of real packets.",
    shell_complete=_offering("backends"),
)
@click.option("--out", type=click.Path(path_type=Path), help="Where the runs go [default: reports/SCENARIO/fidelity].")
@_JSON
def fidelity(scenario: Path, seeds: str, against: str, out: Path | None, as_json: bool) -> None:
    """Play SCENARIO in the simulator and on real packets, and say how far times and message counts differ.

    Exit codes: 0 both agree about the verdict, 1 they do not, 3 a run could not be judged.
    """
    from lab.cli.sweep import run_fidelity

    sys.exit(run_fidelity(scenario, seeds=seeds, against=against, out=out, as_json=as_json))


@lab.command(
    epilog=_examples(
        "lab explore partition --seeds 50",
        "lab explore mine.yaml --faults 3 --deadline 1m",
        "lab explore ring --seeds 1000 --keep-going",
        "lab explore ring --learn before.json",
        "lab explore ring --limits before.json",
    )
)
@_SCENARIO
@click.option("--seeds", default="200", show_default=True, help="How many schedules, as 200, or which, as 1-50,77.")
@_backend("sim")
@click.option(
    "--faults", type=click.IntRange(1, 100), default=8, show_default=True, help="Faults in a schedule, at most."
)
@click.option("--deadline", default="30s", show_default=True, help="When all must agree again after the last heal.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Where what is found goes [default: reports/SCENARIO/explore]."
)
@click.option("--jobs", type=click.IntRange(min=1), help="Runs at once [default: this machine's cores].")
@click.option("--keep-going", is_flag=True, help="Go on after a violation; at the end tell all, by cause.")
@click.option("--learn", type=click.Path(path_type=Path), metavar="FILE", help="Only learn limits of time, into FILE.")
@click.option(
    "--limits",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Limits that a version which you trust has learned [default: learned of this one].",
)
@_JSON
@_PROTOCOL
def explore(
    scenario: Path,
    seeds: str,
    backend: str,
    faults: int,
    deadline: str,
    out: Path | None,
    jobs: int | None,
    keep_going: bool,
    learn: Path | None,
    limits: Path | None,
    as_json: bool,
) -> None:
    """Break SCENARIO at random until something does not recover, and make what was done as small as possible.

    Exit codes: 0 nothing found, 1 a violation (its scenario file is written), 3 interrupted.
    """
    from lab.cli.explore import explore

    code = explore(
        scenario,
        seeds=seeds,
        backend=backend,
        faults=faults,
        deadline=deadline,
        out=out,
        jobs=jobs,
        keep_going=keep_going,
        learn=learn,
        limits=limits,
        as_json=as_json,
    )
    sys.exit(code)


@lab.command(
    epilog=_examples(
        "lab compare reports/before reports/after",
        "lab compare reports/before reports/after --primary heal:overall --margin 1.2",
        "lab compare reports/tree reports/flood --primary figure:rmr_mean",
    )
)
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--primary", default="", metavar="EVENT:METRIC", help="The outcome that decides, tested by itself.")
@click.option("--margin", type=click.FloatRange(1, min_open=True), help="Alike: within this factor of each other.")
@_JSON
def compare(a: Path, b: Path, primary: str, margin: float | None, as_json: bool) -> None:
    """Say whether the sweeps A and B differ (directories, or their tables). Exit codes: 0 no, 1 yes, 3 cannot tell."""
    from lab.cli.sweep import run_compare

    sys.exit(run_compare(a, b, primary=primary, margin=margin, as_json=as_json))


@lab.command(epilog=_examples("lab validate mine.yaml", "lab validate scenarios/*.yaml --backend sim"))
@click.argument("scenarios", nargs=-1, required=True, type=ScenarioPath(), shell_complete=_offering("scenarios"))
@_backend(DEFAULT)
@_SEED
@_JSON
@_PROTOCOL
def validate(scenarios: tuple[Path, ...], backend: str, seed: int | None, as_json: bool) -> None:
    """Check SCENARIOS and say all that is wrong with them. Starts nothing."""
    from lab.cli.files import check_files

    sys.exit(check_files(scenarios, backend=backend, seed=seed, as_json=as_json))


@lab.command(epilog=_examples("lab schema > scenario.schema.json"))
def schema() -> None:
    """Print the JSON schema of scenario files, for editors."""
    from lab.scenario.load import json_schema

    click.echo(json_schema(), nl=False)


@lab.command(epilog=_examples("lab runs", "lab runs --json"))
@_OUT
@_JSON
def runs(out: Path, as_json: bool) -> None:
    """List all stored runs, newest first, and write their page OUT/index.html again."""
    from lab.cli.runs import list_runs

    list_runs(out, as_json=as_json)


@lab.command(epilog=_examples("lab check partition", "lab check reports/partition/latest --json"))
@_RUN
@_JSON
def check(run_dir: str, as_json: bool) -> None:
    """Judge a stored RUN again: a run directory, or a scenario's name for its latest."""
    from lab.cli.files import check_run

    sys.exit(check_run(run_dir, as_json=as_json))


@lab.command(epilog=_examples("lab replay partition"))
@_RUN
@_JSON
@_PROTOCOL
def replay(run_dir: str, as_json: bool) -> None:
    """Make a stored RUN in virtual time again from its history, and verify that every byte is the same."""
    from lab.cli.replay import replay_run

    sys.exit(replay_run(run_dir, as_json=as_json))


@lab.command(epilog=_examples("lab report partition", "lab report partition --format svg,pdf --style paper"))
@_RUN
@click.option(
    "--format",
    "formats",
    default="",
    metavar="FORMATS",
    help="Also write each figure as a picture: png, svg, pdf, or several with commas between.",
)
@_STYLE
def report(run_dir: str, formats: str, style: str) -> None:
    """Make the report of a stored RUN again from its history."""
    from lab.cli.files import make_report

    sys.exit(make_report(run_dir, formats, style))


@lab.command(
    epilog=_examples(
        "lab workshop", "lab workshop --language fr --resume", "lab workshop page.md --backend netns --check"
    )
)
@click.argument("file", required=False, type=click.Path(path_type=Path))
@_backend("dind")
@click.option("--language", type=click.Choice(["en", "fr"]), default="en", show_default=True, help="Of the page.")
@click.option("--check", is_flag=True, help="Type and check every command, instead of letting a learner type.")
@click.option(
    "--part",
    "parts",
    type=int,
    multiple=True,
    help="Only this part, on hosts as the parts before it leave them; may be given several times.",
)
@click.option("--resume", is_flag=True, help="Go on where you left the page last time.")
def workshop(file: Path | None, backend: str, language: str, check: bool, parts: tuple[int, ...], resume: bool) -> None:
    """The walk-through (docs/walkthrough.md, or FILE) on two hosts, command by command.

    Exit codes: 0 all done, 1 (--check) a command did not do what the page says, 3 left or interrupted.
    """
    from lab.cli.workshop import hold_class

    if resume and (check or parts):
        raise click.UsageError("found --resume with --check or --part, expected --resume alone")
    sys.exit(hold_class(file, backend=backend, language=language, check=check, parts=parts, resume=resume))


@lab.group(epilog=_examples("lab images build", "lab images list"))
def images() -> None:
    """The images of hosts that run a Docker Engine, of the containers in them, and the box of real machines."""


@images.command("build", epilog=_examples("lab images build"))
@click.option("--force", is_flag=True, help="Make everything again, Debian's packages too.")
@click.option("--dockerfile", is_flag=True, help="Debian's part by `docker build`, in an engine with a registry.")
@click.option(
    "--base", type=click.Path(path_type=Path), help="Debian's part from this tar, as `docker export` writes it."
)
def images_build(force: bool, dockerfile: bool, base: Path | None) -> None:
    """Build the host image and the container images, as far as they are not up to date.

    Debian's part is made with mmdebstrap from the machine's own apt sources, unless a flag says otherwise.
    """
    from lab.cli.images import build

    if dockerfile and base:
        raise click.UsageError("found --dockerfile and --base, expected one of them")
    build(force=force, dockerfile=dockerfile, base=base)


@images.command("box", epilog=_examples("lab images box --docker"))
@click.option("--docker", is_flag=True, help="With the Docker Engine.")
@click.option("--force", is_flag=True, help="Make everything again, Debian's packages too.")
def images_box(docker: bool, force: bool) -> None:
    """Build the Vagrant box of real machines, if it is not up to date."""
    from lab.cli.images import make_box

    make_box(docker=docker, force=force)


@images.command("weave", epilog=_examples("lab images weave overlay-lab-weave.tar.gz"))
@click.argument("file", default="dist/overlay-lab-weave.tar.gz", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Make its layers again.")
def images_weave(file: Path, force: bool) -> None:
    """Write the image overlay-lab/weave, with which the overlay runs as containers, for `docker load`."""
    from lab.cli.images import write_weave

    write_weave(file, force=force)


@images.command("load", epilog=_examples("lab images load nginx.tar"))
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
def images_load(files: tuple[Path, ...]) -> None:
    """Take archives of `docker save`; their names can then be used as `image:` in scenarios."""
    from lab.cli.images import load

    load(files)


@images.command("forget", epilog=_examples("lab images forget nginx:latest"))
@click.argument("names", nargs=-1, required=True)
def images_forget(names: tuple[str, ...]) -> None:
    """Drop images that were loaded."""
    from lab.cli.images import forget

    forget(names)


@images.command("list", epilog=_examples("lab images list"))
@_JSON
def images_list(as_json: bool) -> None:
    """Show the images that there are."""
    from lab.cli.images import show

    show(as_json=as_json)


@images.command("dockerfile", epilog=_examples("lab images dockerfile > Dockerfile"))
def images_dockerfile() -> None:
    """Print the Dockerfile of Debian's part of the images, for those who have a registry."""
    from lab.cli.images import dockerfile

    dockerfile()


@lab.command("compile", epilog=_examples("lab compile"))
@click.option("--force", is_flag=True, help="Even if it is done already.")
def compile_cores(force: bool) -> None:
    """Compile the cores and the tunnel: simulations take half the time, the tunnel a third, for the very same."""
    from lab.cli.compiled import compile_all

    compile_all(force=force)


@lab.command(epilog=_examples("lab doctor", "lab doctor --links"))
@click.option("--links", is_flag=True, help="Measure what links achieve here, with packets between hosts of a lab.")
@_JSON
def doctor(links: bool, as_json: bool) -> None:
    """Say what this machine can do for a lab, and what to do about what it cannot."""
    if links:
        from lab.cli.link_doctor import examine_links

        sys.exit(examine_links(as_json=as_json))
    from lab.cli.files import examine

    sys.exit(examine(as_json=as_json))


@lab.command(
    epilog=_examples(
        "lab completion bash > ~/.local/share/bash-completion/completions/lab",
        "lab completion zsh > ~/.zfunc/_lab",
    )
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes SHELL complete the words of `lab`: commands, scenarios, runs, labs, hosts, backends."""
    from lab.cli.completing import script

    click.echo(script(lab, shell))


def main() -> NoReturn:
    """The entry point: the streams are made safe to write to, and whatever happens becomes an exit code."""
    from lab.child import follow_parent
    from lab.cli import ending, terminal

    follow_parent()
    terminal.prepare()
    color = None if terminal.live() else False
    sys.exit(ending.code_of(lambda: lab.main(prog_name="lab", standalone_mode=False, color=color)))
