"""`lab watch --tui`: the lab in the terminal, readable at 80 columns and 24 lines, with a line to type verbs in.

Owns the layout and the keys. Displayed data comes from `present` and from the lab's state; a typed line becomes a step
by the rules of the command line, and the lab refuses it or carries it out.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, ClassVar, cast

from rich.text import Text
from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.suggester import Suggester
from textual.widgets import DataTable, Footer, Input, RichLog, Static

from lab.errors import LabError
from lab.records.history import decode
from lab.watch.present import CELLS, Cell, Present
from lab.watch.standing import WatchedLab
from lab.watch.tail import follow
from lab.words import span
from overlay.clean import LINES, clean

__all__ = ["Typed", "WatchTerminal"]

Typed = Callable[[str], dict[str, Any]]
"""Parses a typed line into a step. Raises `LabError`."""
Completed = Callable[[str, Sequence[str], Sequence[str]], list[str]]
"""Completes a line: the words that may come next, given the hosts and services."""

_ASK_STATE = 1.0
_DRAW = 0.25
_STYLES: dict[Cell, str] = {"ok": "green", "cut": "yellow", "bad": "bold red", "leak": "bold magenta", "none": "dim"}
_WIDE = 12
"""Up to this number of containers the matrix shows full names; with more it shows numbers."""


class WatchTerminal(App[None]):
    """The terminal application."""

    CSS = """
    #top { height: 1fr; } #bottom { height: 1fr; }
    #left, #right { width: 1fr; }
    .box { border: round $surface-lighten-2; border-title-color: $text; height: 1fr; }
    DataTable, RichLog { height: 1fr; background: $background; scrollbar-size: 1 1; overflow-x: hidden; }
    #head { height: 1; background: $boost; padding: 0 1; }
    #said { height: auto; max-height: 4; padding: 0 1; }
    #prompt { display: none; }
    """
    AUTO_FOCUS = "#hosts"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("colon,slash", "type('')", "verb", key_display=":", priority=True),
        Binding("p", "type('partition ')", "partition", priority=True),
        Binding("k", "type('kill ')", "kill", priority=True),
        Binding("h", "type('heal all')", "heal", priority=True),
        Binding("u", "undo", "undo", priority=True),
        Binding("e", "end", "end fault", priority=True),
        Binding("question_mark", "signs", "signs", key_display="?", priority=True),
        Binding("q", "quit", "quit"),
        Binding("escape", "leave", "", show=False),
    ]

    """Keys that open the line take effect before the next key is processed, because a terminal without bracketed paste
    delivers a pasted line as keys. While a verb is typed they are letters (`check_action`)."""

    def __init__(self, lab: WatchedLab, history: Path, typed: Typed, complete: Completed, by: str) -> None:
        super().__init__()
        self.present = Present()
        self.state: dict[str, Any] = {}
        self._lab = lab
        self._history = history
        self._typed = typed
        self._complete = complete
        self._by = by
        self._shown_events = 0
        self._changed = True

    def compose(self) -> ComposeResult:
        """Build the layout."""
        yield Static(id="head", markup=False)
        with Horizontal(id="top"):
            with Vertical(classes="box", id="hosts-box"):
                yield DataTable(id="hosts", cursor_type="row", cell_padding=0)
            with Vertical(classes="box", id="matrix-box"):
                yield Static(id="matrix", markup=False)
        with Horizontal(id="bottom"):
            with Vertical(classes="box", id="faults-box"):
                yield DataTable(id="faults", cursor_type="row", cell_padding=0)
            with Vertical(classes="box", id="events-box"):
                yield RichLog(id="events", wrap=True, markup=False, max_lines=200, min_width=20)
        yield Static(id="said", markup=False)
        yield _Prompt(id="prompt", suggester=_Completing(self), compact=True, select_on_focus=False)
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """Start reading the history and polling the state."""
        for name, title in (
            ("hosts", "hosts"),
            ("matrix", "which pairs reach each other (? explains)"),
            ("faults", "faults in force"),
            ("events", "events"),
        ):
            self.query_one(f"#{name}-box").border_title = title
        self.query_one("#hosts", DataTable).add_columns("host ", "state ", "peers ", "runs")
        self.query_one("#faults", DataTable).add_columns("step ", "left ", "fault")
        self.run_worker(self._read(), name="read")
        self.run_worker(self._ask(), name="ask")
        self.set_interval(_DRAW, self.draw)

    # Input

    async def _read(self) -> None:
        async with aclosing(follow(self._history)) as batches:
            async for lines in batches:
                for line in lines:
                    self.present.feed(decode(line))
                self._changed = self._changed or bool(lines)

    async def _ask(self) -> None:
        while True:
            try:
                self.state = await self._lab.ask("state")
            except LabError as error:
                self.say(str(error), "bold red")
                self.state = {}
                return
            self._changed = True
            await asyncio.sleep(_ASK_STATE)

    # Display

    def draw(self) -> None:
        """Redraw if the state has changed."""
        if not self._changed:
            return
        self._changed = False
        present = self.present
        name = clean(self._lab.name)
        took = span(max(present.now, int(self.state.get("now") or 0)))
        rates = "  ".join(f"{probe} p50 {span(p50)} p99 {span(p99)}" for probe, p50, p99 in present.latencies())
        self.query_one("#head", Static).update(Text(f"{name}  {took}  {rates}", no_wrap=True, overflow="ellipsis"))
        self._draw_hosts()
        self._draw_matrix()
        self._draw_faults()
        self._draw_events()

    def _draw_hosts(self) -> None:
        table = self.query_one("#hosts", DataTable)
        rows = [
            (
                Text(clean(row.name, most=14) + " "),
                Text(row.state + " ", style="" if row.state == "up" else "bold red"),
                Text(f"{len(row.neighbours)}"),
                Text(clean(" ".join(row.containers), most=60)),
            )
            for row in self.present.hosts()
        ]
        _fill(table, rows)

    def _draw_matrix(self) -> None:
        names, cells = self.present.matrix()
        text = Text(no_wrap=True)
        text.append(f"{clean(self.present.agreement(), most=60)}\n", style="italic")
        width = max((min(len(name), 14) for name in names), default=0)
        if len(names) > _WIDE:
            text.append(" " * (width + 1) + "".join(f"{number % 10}" for number in range(1, len(names) + 1)) + "\n")
        for number, source in enumerate(names, 1):
            text.append(f"{clean(source, most=14):{width}} ")
            for target in names:
                cell = cells.get((source, target), "none")
                text.append("\\" if source == target else CELLS[cell][0], style=_STYLES[cell])
            text.append(f" {number % 10}\n" if len(names) > _WIDE else "\n")
        self.query_one("#matrix", Static).update(text)

    def _draw_faults(self) -> None:
        table = self.query_one("#faults", DataTable)
        now = int(self.state.get("now") or 0)
        rows = []
        for fault in self.state.get("faults") or ():
            until = fault.get("until")
            left = span(max(until - now, 0)) if isinstance(until, int) else "no end"
            label = clean(str(fault.get("label")), most=40)
            by = f" ({clean(str(fault['by']))})" if fault.get("by") else ""
            rows.append((Text(str(fault["step"])), Text(f"{left} "), Text(label, style="bold yellow") + by))
        _fill(table, rows)

    def _draw_events(self) -> None:
        log = self.query_one("#events", RichLog)
        new = self.present.happened - self._shown_events
        self._shown_events = self.present.happened
        for event in list(self.present.events)[-new:] if new else ():
            mark, style = {True: ("✓", "green"), False: ("✗", "bold red"), None: ("•", "")}[event.ok]
            line = Text(f"{event.t / 1e9:6.1f} ")
            line.append(f"{mark} ", style=style)
            line.append(clean(event.text, most=200) + (f" ({clean(event.by)})" if event.by else ""))
            log.write(line)

    def say(self, text: str, style: str = "") -> None:
        """Show a message to the user."""
        self.query_one("#said", Static).update(Text(clean(text, keep=LINES), style=style))

    # Actions of the user

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While a verb is typed, letter keys are text."""
        return action in ("leave", "quit") or not self._typing

    @property
    def _typing(self) -> bool:
        return any(prompt.display for prompt in self.query("#prompt"))

    async def on_event(self, event: events.Event) -> None:
        """Pasted text goes into the line, wherever the cursor is; Enter executes it."""
        if isinstance(event, events.Paste) and not event.is_forwarded:
            lines = [clean(line.strip()) for line in event.text.splitlines() if line.strip()]
            if not self._typing:
                self.action_type("")
            if len(lines) > 1:
                self.say(f"{len(lines)} lines were pasted, expected one verb: the first is kept, Enter does it")
            event = events.Paste(lines[0] if lines else "")
        await super().on_event(event)

    def action_type(self, begun: str) -> None:
        """Open the line with this initial text."""
        prompt = self.query_one("#prompt", Input)
        prompt.value = begun
        prompt.display = True
        self.screen.set_focus(prompt)  # synchronously: `focus()` would let the next key go elsewhere
        prompt.cursor_position = len(begun)
        self.refresh_bindings()

    def action_leave(self) -> None:
        """Close the line."""
        prompt = self.query_one("#prompt", Input)
        prompt.display = False
        self.screen.set_focus(self.query_one("#hosts"))
        self.refresh_bindings()

    def action_signs(self) -> None:
        """Show the meaning of the signs."""
        self.say("   ".join(f"{sign} {words}" for sign, words in CELLS.values()))

    async def on_input_submitted(self, event: Input.Submitted) -> None:
        """Execute a typed line."""
        if event.value.strip():
            self.run_worker(self._do(event.value.strip()))

    async def _do(self, line: str) -> None:
        try:
            step = self._typed(line)
            self.say(f"{line} …", "dim")
            told = await self._lab.ask("step", step=step, by=self._by, seen=self.state.get("moves"))
        except LabError as error:
            self.say(str(error), "bold red")
            return
        self._said(told)

    def action_undo(self) -> None:
        """Undo the last move."""
        self.run_worker(self._undo(None))

    def action_end(self) -> None:
        """End the fault under the cursor."""
        faults, row = list(self.state.get("faults") or ()), self.query_one("#faults", DataTable).cursor_row
        if not 0 <= row < len(faults):
            self.say("no fault is in force")
            return
        self.run_worker(self._undo(faults[row]["step"]))

    async def _undo(self, index: int | None) -> None:
        try:
            told = await self._lab.ask("undo", index=index, by=self._by)
        except LabError as error:
            self.say(str(error), "bold red")
            return
        own = (told.get("event") or {}).get("step", told.get("index")) == told.get("index")
        self._said(told, "ended: " if own else "done to undo it: ")

    def _said(self, told: dict[str, Any], how: str = "") -> None:
        event = told.get("event") or {}
        detail = event.get("detail") or {}
        error = f": {detail['error']}" if detail.get("error") else ""
        style = "bold red" if event.get("ok") is False else "green"
        self.say(f"{how}{detail.get('label', event.get('what', ''))}{error}", style)

    def choices(self, line: str) -> list[str]:
        """Words that may come next in a typed line."""
        hosts = [row.name for row in self.present.hosts()]
        services = list((self.state.get("scenario") or {}).get("services") or ())
        return self._complete(line, hosts, services)


class _Prompt(Input):
    """The input line. Enter closes it; the rest of a paste after Enter is dropped."""

    async def on_key(self, event: events.Key) -> None:
        """Handle Enter here, in order: as a key of the view it would be handled after the letters that follow it."""
        if event.key == "enter" or not self.display:
            event.stop()
            event.prevent_default()
        if event.key == "enter" and self.display:
            await self.action_submit()
            cast(WatchTerminal, self.app).action_leave()


class _Completing(Suggester):
    """Suggests the rest of the word that is being typed."""

    def __init__(self, view: WatchTerminal) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._view = view

    async def get_suggestion(self, value: str) -> str | None:
        """See `Suggester`."""
        last = value.replace(",", " ").rpartition(" ")[2]
        found = next((word for word in self._view.choices(value) if word.startswith(last) and word != last), None)
        return value + found[len(last) :] if found is not None else None


def _fill(table: DataTable[Text], rows: Sequence[tuple[Text, ...]]) -> None:
    """Put these rows into a table, and keep the cursor position."""
    row = table.cursor_row
    table.clear()
    for cells in rows:
        table.add_row(*cells)
    if rows:
        table.move_cursor(row=min(row, len(rows) - 1), scroll=False)
