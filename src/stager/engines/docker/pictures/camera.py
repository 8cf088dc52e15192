"""Takes pictures of pages with Chromium. It runs inside the container of the browser, where only Python's
standard library exists: the engine passes this file's text to `python3 -c`, and the order by the variable
`ORDER`. Each result is a line of JSON on standard output.

A page looks the same each time: the clock, random numbers and animations stand still, and the picture waits
for fonts. Each wait has a limit, so that no page keeps the browser longer.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping

# The beginning of 2026, for all that a page reads of the time.
STILL = """(() => {
  const now = 1767225600000, RealDate = Date;
  class StillDate extends RealDate {
    constructor(...given) { given.length ? super(...given) : super(now); }
    static now() { return now; }
  }
  Date = new Proxy(StillDate, { apply: () => new StillDate().toString() });
  performance.now = () => 1000;
  let seed = 1;
  Math.random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  const frame = window.requestAnimationFrame.bind(window);
  window.requestAnimationFrame = (callback) => frame(() => callback(1000));
})()"""

QUIET = """(() => {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(`*, *::before, *::after { animation: none !important; transition: none !important;
    caret-color: transparent !important; scroll-behavior: auto !important }
    ::-webkit-scrollbar { display: none !important }`);
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
  for (const film of document.querySelectorAll("video, audio")) { film.pause(); film.currentTime = 0; }
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  return document.fonts.ready.then(frame).then(frame).then(() => true);
})()"""

ARGUMENTS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-lcd-text",
    "--disable-features=Translate,OptimizationHints,MediaRouter",
    "--hide-scrollbars",
    "--mute-audio",
    "--force-color-profile=srgb",
    "--force-device-scale-factor=1",
    "--font-render-hinting=none",
    "--js-flags=--max-old-space-size=192",
    "--renderer-process-limit=1",
)

Message = Mapping[str, object]
MOST_MESSAGE = 24_000_000
"""Bytes of one message of the browser: a picture in base64."""
MOST_PROBLEMS, LONGEST_PROBLEM = 10, 300
PHONE = 600
"""Pixels. Narrower screens are those of phones."""
QUIET_SECONDS = 0.5
"""How long no request may be under way before the picture is taken."""
SETTLE_SECONDS = 5.0
"""How long the picture waits at most after the page has loaded."""


class TooLong(Exception):  # noqa: N818 (a wait that ended)
    """The page or the browser didn't answer in time."""


class Browser:
    """Chromium, driven through its pipe (Chrome DevTools Protocol).

    Args:
        process: its process.
        send, receive: the file descriptors of the pipe.
    """

    def __init__(self, process: subprocess.Popen[bytes], send: int, receive: int) -> None:
        self.process, self._send, self._receive = process, send, receive
        self._left = b""
        self._last = 0
        self.session = ""

    def call(
        self, method: str, until: float, hear: Callable[[Message], None], **given: object
    ) -> dict[str, object]:
        """Call a method and return its result. Events that arrive before go to `hear`.

        Raises:
            TooLong: no answer by `until`, of `time.monotonic`.
        """
        self._last += 1
        number = self._last
        message: dict[str, object] = {"id": number, "method": method, "params": given}
        if self.session:
            message["sessionId"] = self.session
        os.write(self._send, json.dumps(message).encode() + b"\0")
        while True:
            found = self.next(until)
            if found.get("id") == number:
                result = found.get("result")
                return result if isinstance(result, dict) else {}
            hear(found)

    def next(self, until: float) -> Message:
        """The next message. Raises `TooLong` if there is none by `until`."""
        while b"\0" not in self._left:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self._receive], [], [], left)[0]:
                raise TooLong
            part = os.read(self._receive, 1 << 16)
            if not part or len(self._left) > MOST_MESSAGE:
                raise TooLong
            self._left += part
        first, _, self._left = self._left.partition(b"\0")
        message = json.loads(first)
        return message if isinstance(message, dict) else {}


class Page:
    """What one page has reported: errors, requests under way."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.pending: set[str] = set()
        self.loaded = False
        self.status = 0
        self._urls: dict[str, str] = {}

    def hear(self, message: Message) -> None:  # noqa: C901 (a case for each kind of event)
        """Take note of an event."""
        found = message.get("params")
        params = found if isinstance(found, dict) else {}
        request = str(params.get("requestId", ""))
        match message.get("method"):
            case "Page.loadEventFired":
                self.loaded = True
            case "Network.requestWillBeSent" if len(self._urls) < 2000:
                self.pending.add(request)
                self._urls[request] = str(params["request"]["url"])
            case "Network.loadingFinished" | "Network.eventSourceMessageReceived":
                self.pending.discard(request)
            case "Network.loadingFailed":
                self.pending.discard(request)
                if not params.get("canceled"):
                    self.note(f"{self._urls.get(request, '')}: {params.get('errorText', 'failed')}")
            case "Network.responseReceived":
                response = params["response"]
                status = int(response["status"])
                if params.get("type") == "Document" and not self.status:
                    self.status = status
                if status >= 400:
                    self.note(f"{response['url']}: status {status}")
            case "Runtime.exceptionThrown":
                thrown = params["exceptionDetails"]
                text = (thrown.get("exception") or {}).get("description") or thrown.get("text", "")
                self.note(str(text).splitlines()[0] if text else "exception")
            case "Runtime.consoleAPICalled" if params.get("type") == "error":
                words = [
                    str(each.get("value", each.get("description", ""))) for each in params.get("args", ())
                ]
                self.note(" ".join(words))

    def note(self, problem: str) -> None:
        """Keep a problem, unless it is known or there are many."""
        short = problem[:LONGEST_PROBLEM]
        if short not in self.problems and len(self.problems) < MOST_PROBLEMS:
            self.problems.append(short)


def launch(program: str, arguments: list[str], folder: str) -> Browser:
    """Start Chromium with a pipe as descriptors 3 and 4, as `--remote-debugging-pipe` wants."""
    their_read, our_write = os.pipe()
    our_read, their_write = os.pipe()

    def prepare() -> None:
        first, second = os.dup(their_read), os.dup(their_write)
        os.dup2(first, 3)
        os.dup2(second, 4)

    command = [program, *ARGUMENTS, f"--user-data-dir={folder}", *arguments, "about:blank"]
    process = subprocess.Popen(  # noqa: S603 (our own arguments)
        command,
        preexec_fn=prepare,  # noqa: PLW1509 (there are no threads)
        close_fds=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    os.close(their_read)
    os.close(their_write)
    return Browser(process, our_write, our_read)


def attach(browser: Browser, until: float) -> None:
    """Open a page, and direct further calls to it."""
    browser.session = ""
    target = browser.call("Target.createTarget", until, _ignore, url="about:blank")["targetId"]
    found = browser.call("Target.attachToTarget", until, _ignore, targetId=target, flatten=True)
    browser.session = str(found["sessionId"])


def take(browser: Browser, url: str, width: int, height: int, until: float) -> dict[str, object]:
    """One picture of one page, with what went wrong in it."""
    page = Page()
    hear = page.hear
    attach(browser, until)
    for name in ("Page", "Runtime", "Network"):
        browser.call(f"{name}.enable", until, hear)
    browser.call(
        "Emulation.setDeviceMetricsOverride",
        until,
        hear,
        width=width,
        height=height,
        deviceScaleFactor=1,
        mobile=width < PHONE,
    )
    features = [
        {"name": "prefers-reduced-motion", "value": "reduce"},
        {"name": "prefers-color-scheme", "value": "light"},
    ]
    browser.call("Emulation.setEmulatedMedia", until, hear, features=features)
    browser.call("Emulation.setTimezoneOverride", until, hear, timezoneId="UTC")
    browser.call("Page.addScriptToEvaluateOnNewDocument", until, hear, source=STILL)
    browser.call("Page.setDownloadBehavior", until, hear, behavior="deny")
    found = browser.call("Page.navigate", until, hear, url=url)
    if found.get("errorText"):
        return {"width": width, "problems": page.problems, "failed": str(found["errorText"])}
    _settle(browser, page, until)
    quiet = {"expression": QUIET, "awaitPromise": True, "timeout": 3000}
    try:
        browser.call("Runtime.evaluate", min(until, time.monotonic() + 4), hear, **quiet)
    except TooLong:
        page.note("The page's fonts or scripts didn't come to rest.")
    shot = browser.call("Page.captureScreenshot", until, hear, format="png", captureBeyondViewport=False)
    return {"width": width, "status": page.status, "problems": page.problems, "png": shot.get("data", "")}


def _settle(browser: Browser, page: Page, until: float) -> None:
    """Wait until the page is loaded and has requested nothing for a while, or its time is over."""
    latest = until - 5
    quiet_since = time.monotonic()
    while time.monotonic() < latest:
        try:
            page.hear(browser.next(min(latest, time.monotonic() + 0.1)))
        except TooLong:
            if browser.process.poll() is not None:
                raise
        now = time.monotonic()
        if page.loaded:
            latest = min(latest, now + SETTLE_SECONDS) if page.pending else latest
        if page.pending or not page.loaded:
            quiet_since = now
        elif now - quiet_since >= QUIET_SECONDS:
            return
    page.note("The page didn't finish loading in time.")


def _ignore(message: Message) -> None:
    """An event without a waiter."""


def main() -> int:
    """Take all pictures of the order, and write a line for each."""
    order = json.loads(os.environ["ORDER"])
    end = time.monotonic() + order["seconds"]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        browser = launch(order.get("program", "chromium"), order["arguments"], folder)
        try:
            for one in order["pages"]:
                until = min(end, time.monotonic() + order["page_seconds"])
                try:
                    result = take(browser, one["url"], one["width"], one["height"], until)
                except (TooLong, BrokenPipeError, KeyError):
                    result = {"failed": "too long", "problems": []}
                line = {"route": one["route"], **result, "width": one["width"]}
                sys.stdout.write(json.dumps(line) + "\n")
                sys.stdout.flush()
        finally:
            browser.process.kill()
            browser.process.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
