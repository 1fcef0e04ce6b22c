"""Runs a real browser for tests of the pages that the programs write: Chromium without a window, by its WebDriver.

Source: W3C, "WebDriver", 2018; only the few calls that tests need.
"""

from __future__ import annotations

import base64
import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SWITCHES = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--hide-scrollbars", "--disable-dev-shm-usage"),
)


class BrowserError(Exception):
    """Says that the browser has refused a command, or that something did not happen in time."""


class Browser:
    """Shows one page at a time; `console` returns the page's error messages."""

    def __init__(self, session: str) -> None:
        self._session = session

    def open(self, page: Path | str, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Shows a file (or an address) in a window whose inside has that size in CSS pixels."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.devtools("Emulation.setDeviceMetricsOverride", **metrics)
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.devtools("Emulation.setEmulatedMedia", features=[feature])
        _call("POST", f"{self._session}/url", {"url": page.resolve().as_uri() if isinstance(page, Path) else page})

    def run(self, script: str, *arguments: object) -> Any:
        """Runs JavaScript, which sees `arguments`, and returns its result."""
        return _call("POST", f"{self._session}/execute/sync", {"script": script, "args": list(arguments)})

    def wait_for(self, expression: str, seconds: float = 20) -> Any:
        """Waits until an expression is true, and returns its value. Raises BrowserError after `seconds`."""
        deadline = time.monotonic() + seconds
        while not (value := self.run(f"return {expression}")):
            if time.monotonic() > deadline:
                raise BrowserError(f"{expression} did not come true.")
            time.sleep(0.05)
        return value

    def console(self) -> list[str]:
        """Returns the page's errors since the last call: errors of scripts, resources that it may not load."""
        entries = _call("POST", f"{self._session}/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries]

    def screenshot(self, path: Path, whole: bool = False) -> None:
        """Writes a PNG of the window, or of the whole page."""
        data = self.devtools("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))

    def devtools(self, command: str, **parameters: object) -> Any:
        """Runs a command of Chromium's DevTools protocol."""
        return _call("POST", f"{self._session}/goog/cdp/execute", {"cmd": command, "params": parameters})


@contextmanager
def start_browser(chromedriver: str, chromium: str, profile: Path) -> Iterator[Browser]:
    """Starts a browser with the empty folder `profile`; it ends with the context."""
    log = profile.with_suffix(".log")
    with log.open("wb") as output:
        # Port 0: the system chooses one, and the driver prints it.
        driver = subprocess.Popen([chromedriver, "--port=0"], stdout=output, stderr=subprocess.STDOUT)
    try:
        address = f"http://127.0.0.1:{_port(driver, log)}"
        options = {"binary": chromium, "args": [*SWITCHES, f"--user-data-dir={profile}"]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        made = _call("POST", f"{address}/session", {"capabilities": {"alwaysMatch": wanted}})
        session = f"{address}/session/{made['sessionId']}"
        try:
            yield Browser(session)
        finally:
            _call("DELETE", session)
    finally:
        driver.terminate()
        driver.wait()


def _port(driver: subprocess.Popen[bytes], log: Path) -> int:
    deadline = time.monotonic() + 30
    while driver.poll() is None and time.monotonic() < deadline:
        said = log.read_text()
        if "started successfully on port" in said:
            return int(said.split("started successfully on port")[1].split(".")[0])
        time.sleep(0.05)
    raise BrowserError(f"chromedriver did not start: {log.read_text()}")


def _call(method: str, url: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(request, timeout=60) as answer:
            return json.load(answer)["value"]
    except urllib.error.HTTPError as error:
        raise BrowserError(json.load(error)["value"]["message"]) from None
