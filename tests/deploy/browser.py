"""A real browser without a window, spoken to by its DevTools protocol (https://chromedevtools.github.io/devtools-protocol/)."""

from __future__ import annotations

import asyncio
import base64
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Self

import aiohttp

START_WITHIN_S = 30.0
ANSWER_WITHIN_S = 30.0

# Nothing of the browser's own goes to the network, and no name is resolved.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--no-pings",
    "--metrics-recording-only",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--remote-debugging-port=0",
)


class Page:
    """A tab. `requests` are the addresses that it asked for, `complaints` what its console and its policy said."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._asked = 0
        self._session = ""
        self._loaded = False
        self.requests: list[str] = []
        self.complaints: list[str] = []

    async def begin(self) -> Self:
        target = await self.ask("Target.createTarget", url="about:blank")
        attached = await self.ask("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Audits"):
            await self.ask(f"{domain}.enable")
        return self

    async def ask(self, method: str, /, **parameters: Any) -> Any:
        """One command, and its answer; what happens meanwhile is written down."""
        self._asked += 1
        number = self._asked
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        await self._socket.send_json(message)
        async with asyncio.timeout(ANSWER_WITHIN_S):
            while True:
                heard = await self._hear()
                if heard.get("id") == number:
                    assert "error" not in heard, f"{method}: {heard['error']}"
                    return heard["result"]

    async def open(self, address: str, *, width: int, height: int, dark: bool = False) -> None:
        """Show a page in a window of that many CSS pixels, and wait until it is loaded."""
        await self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.ask("Emulation.setEmulatedMedia", media="", features=[scheme])
        self._loaded = False
        went = await self.ask("Page.navigate", url=address)
        assert "errorText" not in went, went
        async with asyncio.timeout(ANSWER_WITHIN_S):
            while not self._loaded:
                await self._hear()

    async def value(self, expression: str) -> Any:
        """What a JavaScript expression is; the page's own policy does not bind it."""
        got = await self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in got, got["exceptionDetails"]
        return got["result"].get("value")

    async def picture(self, *, whole: bool = True) -> bytes:
        """A PNG of the whole page, or of what the window shows."""
        got = await self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(got["data"])

    async def printed(self) -> bytes:
        """A PDF on A4, backgrounds left out as most people's printers do."""
        got = await self.ask("Page.printToPDF", paperWidth=8.27, paperHeight=11.69, preferCSSPageSize=True)
        return base64.b64decode(got["data"])

    async def _hear(self) -> dict[str, Any]:
        heard: dict[str, Any] = await self._socket.receive_json()
        what = heard.get("params", {})
        match heard.get("method"):
            case "Page.loadEventFired":
                self._loaded = True
            case "Network.requestWillBeSent":
                self.requests.append(what["request"]["url"])
            case "Runtime.consoleAPICalled":
                self.complaints.append(f"{what['type']}: {what['args']}")
            case "Runtime.exceptionThrown":
                self.complaints.append(str(what["exceptionDetails"]))
            case "Log.entryAdded":
                self.complaints.append(f"{what['entry']['level']}: {what['entry']['text']}")
            case "Audits.issueAdded":
                self.complaints.append(str(what["issue"]))
            case _:
                pass
        return heard


@asynccontextmanager
async def browser() -> AsyncIterator[Page]:
    """An empty tab of a browser that nobody has used before, gone afterwards."""
    with _process() as place:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"ws://127.0.0.1:{place}", max_msg_size=0) as socket,
        ):
            yield await Page(socket).begin()


@contextmanager
def _process() -> Iterator[str]:
    """The browser; where it listens on 127.0.0.1, as port and path."""
    with tempfile.TemporaryDirectory(prefix="bulksend-browser-", ignore_cleanup_errors=True) as folder:
        process = subprocess.Popen(
            ["chromium", *FLAGS, f"--user-data-dir={folder}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield _listens(Path(folder, "DevToolsActivePort"), process)
        finally:
            process.terminate()
            try:
                process.wait(10.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _listens(said: Path, process: subprocess.Popen[bytes]) -> str:
    """Where it listens, once it has written that down."""
    deadline_s = time.monotonic() + START_WITHIN_S
    while True:
        assert process.poll() is None, "the browser did not start"
        assert time.monotonic() < deadline_s, "the browser does not listen"
        lines = said.read_text("ascii").split() if said.exists() else []
        if len(lines) > 1:
            return "".join(lines)
        time.sleep(0.05)
