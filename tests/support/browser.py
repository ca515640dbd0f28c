"""A headless Chromium for tests, driven by its DevTools protocol over a pipe: no driver, no port, no network.

Owns the process, its profile and one tab. `Browser.open` collects what a page says on its console, what it throws, and
what it asks for; `script` evaluates JavaScript; mouse and keys are real input events. Knows no page of ours.
"""

import base64
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
PATIENCE = float(os.environ.get("BROWSER_PATIENCE", "120"))
"""Seconds that anything may take on a machine under load."""
_ARGUMENTS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-quic"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions"),
    *("--no-default-browser-check", "--disable-default-apps", "--metrics-recording-only", "--force-color-profile=srgb"),
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-pipe",
)


def chromium() -> str:
    """Where it is; skips the test that needs it where it is missing, and fails it in CI."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        message = "no browser: install the package `chromium` (`make browser` as root does)"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return found


class BrowserError(Exception):
    """The browser refused a command, or a script threw."""


class Browser:
    """One browser with one tab."""

    def __init__(self, width: int = 1280, height: int = 900) -> None:
        self.console: list[str] = []
        """Errors and warnings that the page of the tab said or threw since `open`."""
        self.requests: list[str] = []
        """Addresses that it asked for since `open`, its own first."""
        self._profile = tempfile.TemporaryDirectory(prefix="lab-browser-", ignore_cleanup_errors=True)
        read_here, write_there = os.pipe()
        read_there, write_here = os.pipe()
        # The browser reads commands from descriptor 3 and writes answers to 4.
        self._process = subprocess.Popen(
            [
                *("bash", "-c", f'exec 3<&{read_there} 4>&{write_there}; exec "$@"', "bash"),
                *(chromium(), *_ARGUMENTS, f"--user-data-dir={self._profile.name}", f"--window-size={width},{height}"),
                "about:blank",
            ],
            pass_fds=(read_there, write_there),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, "HOME": self._profile.name},
        )
        os.close(read_there)
        os.close(write_there)
        self._in, self._out = os.fdopen(read_here, "rb", buffering=0), os.fdopen(write_here, "wb", buffering=0)
        self._buffer = b""
        self._number = 0
        self._session = ""
        try:
            target = self.send("Target.createTarget", url="about:blank")["targetId"]
            self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Network", "Log"):
                self.send(f"{domain}.enable")
            self.resize(width, height)
        except BaseException:
            self.close()
            raise

    # What a test does

    def open(self, where: str | Path) -> None:
        """Go to an address or a file, and wait until it is loaded."""
        self.console.clear()
        self.requests.clear()
        address = where.resolve().as_uri() if isinstance(where, Path) else where
        # A page that is left may still be there for a moment: the new one has no such mark.
        self.script("window.__left = true")
        failed = self.send("Page.navigate", url=address).get("errorText")
        if failed:
            raise BrowserError(f"{address}: {failed}")
        self.until("!window.__left && document.readyState === 'complete'")

    def script(self, code: str) -> Any:
        """The value of an expression, awaited if it is a promise."""
        done = self.send("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True, userGesture=True)
        if "exceptionDetails" in done:
            details = done["exceptionDetails"]
            raise BrowserError(details.get("exception", {}).get("description") or details["text"])
        return done["result"].get("value")

    def until(self, code: str, what: Callable[[Any], bool] = bool) -> Any:
        """Wait until an expression has a value that will do, and return it."""
        limit = time.monotonic() + PATIENCE
        value: Any = None
        while time.monotonic() < limit:
            try:
                value = self.script(code)
            except BrowserError as error:
                value = error  # the page is being replaced
            else:
                if what(value):
                    return value
            time.sleep(0.05)
        raise AssertionError(f"not within {PATIENCE:.0f} s: {code} (last: {value!r}; console: {self.console})")

    def settled(self) -> None:
        """Wait until what was asked for is drawn: two frames."""
        self.script("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")

    def resize(self, width: int, height: int, *, phone: bool = False) -> None:
        """Another window."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)

    def scheme(self, name: str) -> None:
        """`dark` or `light`."""
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def without_scripts(self, off: bool = True) -> None:
        """Whether pages may run scripts from the next one on."""
        self.send("Emulation.setScriptExecutionDisabled", value=off)

    def box(self, selector: str) -> tuple[float, float, float, float]:
        """(left, top, width, height) of an element in the window, scrolled into it."""
        found = f"const found = document.querySelector({json.dumps(selector)});"
        show = "found.scrollIntoView({block: 'center', behavior: 'instant'});"
        give = "const box = found.getBoundingClientRect(); return [box.left, box.top, box.width, box.height];"
        x, y, width, height = self.script(f"(() => {{ {found} {show} {give} }})()")
        return x, y, width, height

    def click(self, selector: str) -> None:
        """A click in the middle of an element."""
        left, top, width, height = self.box(selector)
        self.drag((left + width / 2, top + height / 2))

    def hover(self, x: float, y: float) -> None:
        """Move the pointer."""
        self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def drag(self, *points: tuple[float, float]) -> None:
        """Press at the first point, go to the others, let go at the last; one point: a click."""
        press: dict[str, Any] = {"button": "left", "clickCount": 1}
        (x, y), *others = points
        self.hover(x, y)
        self.send("Input.dispatchMouseEvent", type="mousePressed", x=x, y=y, **press)
        for x, y in others:
            self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y, buttons=1, **press)
        self.send("Input.dispatchMouseEvent", type="mouseReleased", x=x, y=y, **press)

    def wheel(self, selector: str, down: float, *, ctrl: bool = False) -> None:
        """Turn the wheel over the middle of an element."""
        left, top, width, height = self.box(selector)
        at = {"x": left + width / 2, "y": top + height / 2}
        self.send("Input.dispatchMouseEvent", type="mouseWheel", deltaX=0, deltaY=down, modifiers=2 * ctrl, **at)

    def key(self, name: str, code: int = 0) -> None:
        """Press a key, by its DOM name: `ArrowRight`, `Tab`, `Enter`."""
        codes = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Tab": 9, "Enter": 13, "Escape": 27}
        key: dict[str, Any] = {"key": name, "code": name, "windowsVirtualKeyCode": code or codes.get(name, 0)}
        self.send("Input.dispatchKeyEvent", type="keyDown", **key, **({"text": "\r"} if name == "Enter" else {}))
        self.send("Input.dispatchKeyEvent", type="keyUp", **key)

    def picture(self, path: Path, *, whole: bool = True) -> Path:
        """A PNG of the tab."""
        clip: dict[str, Any] = {}
        if whole:
            width, height = self.script("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
            clip = {"clip": {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}}
        made = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole, **clip)
        path.write_bytes(base64.b64decode(made["data"]))
        return path

    def close(self) -> None:
        """End it, and everything that it started."""
        for file in (self._in, self._out):
            file.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._profile.cleanup()

    # The protocol: messages of JSON, each ended by a zero byte

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command and its result; events that come meanwhile are taken in."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._out.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") != self._number:
                self._event(answer)
                continue
            if "error" in answer:
                raise BrowserError(f"{method}: {answer['error']['message']}")
            result: dict[str, Any] = answer["result"]
            return result

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            part = self._in.read(1 << 20)
            if not part:
                raise BrowserError("the browser has ended")
            self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\0")
        found: dict[str, Any] = json.loads(line)
        return found

    def _event(self, message: dict[str, Any]) -> None:
        method, parameters = message.get("method"), message.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            self.console.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
            self.console.append(
                " ".join(str(each.get("value", each.get("description"))) for each in parameters["args"])
            )
        elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            self.console.append(parameters["entry"]["text"])
