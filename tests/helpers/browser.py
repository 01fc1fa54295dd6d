"""Chromium without a window, driven through the DevTools protocol over pipes: no package and no driver is needed."""

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
    "--no-first-run", "--disable-background-networking", "--disable-extensions", "--disable-sync", "--hide-scrollbars",
    "--force-color-profile=srgb", "--proxy-server=127.0.0.1:9",  # nothing listens there
)  # fmt: skip
# The browser reads descriptor 3 and writes to 4
START = """import fcntl, os, sys
copies = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3]]
for place, copy in zip((3, 4), copies):
    os.dup2(copy, place)
os.execv(sys.argv[3], sys.argv[3:])"""
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: apt-get install chromium")


class Browser:
    """Browser with one page. Everything that the page logs, requests or throws is recorded."""

    def __init__(self) -> None:
        self.profile = tempfile.mkdtemp(prefix="vitrun-chromium-")
        read_here, write_there = os.pipe()
        read_there, write_here = os.pipe()
        command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={self.profile}", "about:blank"]
        self.process = subprocess.Popen(
            [sys.executable, "-ISc", START, str(read_there), str(write_there), *command],
            pass_fds=(read_there, write_there),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read_there), os.close(write_there)
        self.input, self.output = os.fdopen(write_here, "wb"), os.fdopen(read_here, "rb")
        self.number, self.rest, self.session = 0, b"", None
        self.problems: list[str] = []
        self.requests: list[str] = []
        self.loaded = False
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Return the result of a method of the protocol."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        self.input.write(json.dumps(message).encode() + b"\0")
        self.input.flush()
        while True:
            answer = self.receive()
            if answer.get("id") == self.number:
                assert "error" not in answer, answer["error"]
                return answer["result"]

    def receive(self) -> dict[str, Any]:
        """Return the next message of the browser; record an event."""
        while b"\0" not in self.rest:
            part = os.read(self.output.fileno(), 2**20)
            assert part, "chromium has ended"
            self.rest += part
        text, _, self.rest = self.rest.partition(b"\0")
        message = json.loads(text)
        self.record(message.get("method"), message.get("params", {}))
        return message

    def record(self, method: str | None, params: dict[str, Any]) -> None:
        """Record what an event says."""
        if method == "Page.loadEventFired":
            self.loaded = True
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.problems.append(params["exceptionDetails"].get("exception", {}).get("description", "an exception"))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.problems.append(str([argument.get("value") for argument in params["args"]]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.problems.append(params["entry"]["text"])

    def open(self, file: Path, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Open a page, and wait until it is loaded."""
        assert file.is_file()
        self.resize(width, height, dark)
        self.problems.clear(), self.requests.clear()
        self.loaded = False
        self.call("Page.navigate", url=file.absolute().as_uri())
        while not self.loaded:
            self.receive()

    def foreign_requests(self) -> list[str]:
        """Return the addresses that were requested, but for the page itself and what is written in it."""
        return [url for url in self.requests if not url.startswith(("file:", "data:"))]

    def resize(self, width: int, height: int = 900, dark: bool = False) -> None:
        """Set the size of the page in CSS pixels, and the theme of the system."""
        mobile = width < 600
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def evaluate(self, code: str) -> Any:
        """Return the value of an expression of JavaScript."""
        answer = self.call("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, key: str, code: int, text: str = "") -> None:
        """Press a key, such as Tab (9) or Enter (13)."""
        facts = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **facts)
        self.call("Input.dispatchKeyEvent", type="keyUp", **facts)

    def write(self, text: str) -> None:
        """Type a text."""
        for character in text:
            self.call("Input.dispatchKeyEvent", type="char", text=character)

    def click(self, selector: str) -> None:
        """Click with the mouse in the middle of the first element of a CSS selector."""
        place = self.evaluate(
            f"(() => {{const element = document.querySelector({json.dumps(selector)}); element.scrollIntoView("
            "{block: 'center'}); const box = element.getBoundingClientRect(); "
            "return [box.x + box.width / 2, box.y + box.height / 2]})()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1)

    def screenshot(self, file: Path, full: bool = True) -> None:
        """Write a picture of the page."""
        image = self.call("Page.captureScreenshot", captureBeyondViewport=full, **self.clip(full))
        file.write_bytes(base64.b64decode(image["data"]))

    def clip(self, full: bool) -> dict[str, Any]:
        """Return the area of a picture: all of the page, or what is visible."""
        if not full:
            return {}
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        return {"clip": {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}}

    def close(self) -> None:
        """End the browser."""
        self.session = None
        with suppress(Exception):
            self.call("Browser.close")
        self.process.wait(10)
        self.input.close(), self.output.close()
        shutil.rmtree(self.profile, ignore_errors=True)
