"""A page in a headless Chromium: what stands out of the window, what is hard to read, and what went wrong.

It speaks the DevTools protocol (https://chromedevtools.github.io/devtools-protocol/) through a pipe, so that no port
and no other package is needed.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
"""The browser; None where none is installed."""
_LOOK = """(() => {
  document.querySelectorAll('details').forEach(one => one.open = true);
  const width = document.documentElement.clientWidth, scrolls = one =>
    one && (['auto', 'scroll', 'hidden'].includes(getComputedStyle(one).overflowX) || scrolls(one.parentElement));
  const luminance = rgb => rgb.map(c => c / 255).map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
    .reduce((sum, c, k) => sum + c * [.2126, .7152, .0722][k], 0);
  const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
  const behind = one => {
    for (; one; one = one.parentElement) {
      const [r, g, b, alpha = 1] = numbers(getComputedStyle(one).backgroundColor);
      if (alpha === 1) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const name = one => `${one.tagName} ${one.textContent.trim().slice(0, 40)}`;
  const wide = [], faint = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text; text = texts.nextNode();) {
    const one = text.parentElement, range = document.createRange();
    if (!text.data.trim() || ['STYLE', 'SCRIPT'].includes(one.tagName)) continue;
    range.selectNodeContents(text);
    const box = range.getBoundingClientRect();
    if (!box.width) continue;
    if ((box.right > width + 1 || box.left < -1) && !scrolls(one)) wide.push(name(one));
    const holder = one.closest('.warning, .card, td, .row-side');
    if (holder && box.right > holder.getBoundingClientRect().right + 1 && !scrolls(one)) wide.push(name(one));
    const both = [numbers(getComputedStyle(one).color).slice(0, 3), behind(one)].map(luminance).sort((a, b) => b - a);
    const contrast = (both[0] + .05) / (both[1] + .05);
    if (contrast < 4.5) faint.push(`${contrast.toFixed(1)} ${name(one)}`);
  }
  return {wide, faint, scrolls: document.documentElement.scrollWidth > width};
})()"""


@dataclass(frozen=True)
class Seen:
    """What was seen of a page at one width."""

    wide: list[str]
    """Texts that stand out of the window or of the box that they are in."""
    scrolls: bool
    """Whether the page is wider than the window."""
    faint: list[str]
    """Texts with a contrast below 4.5, which WCAG 2 requires (https://www.w3.org/TR/WCAG22/#contrast-minimum)."""
    errors: list[str]
    """What the console says, and exceptions."""
    requests: list[str]
    """What the page loads, without itself."""


class Browser:
    """A running Chromium with one tab."""

    def __init__(self, stream: BinaryIO, writes: int) -> None:
        """`stream`, `writes`: the ends of the pipes from and to the browser."""
        self._stream, self._writes, self._number, self._session = stream, writes, 0, ""
        self._events: list[dict[str, Any]] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self._call(f"{domain}.enable")

    def see(self, page: Path, width: int, *, is_dark: bool = False) -> Seen:
        """Loads a page in a window of some width; returns what is seen of it with all its parts unfolded."""
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])
        self._events = []
        self._call("Page.navigate", url=page.as_uri())
        while not any(one["method"] == "Page.loadEventFired" for one in self._events):
            self._read()
        looked = self._call("Runtime.evaluate", expression=_LOOK, returnByValue=True)["result"]["value"]
        asked = [one["params"] for one in self._events]
        requests = [one["request"]["url"] for one in asked if "request" in one]
        errors = [
            json.dumps(one["params"])
            for one in self._events
            if one["method"] in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        ]
        return Seen(**looked, errors=errors, requests=[url for url in requests if url != page.as_uri()])

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._writes, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self._number:
            pass
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def _read(self) -> dict[str, Any]:
        """Returns the next message; an event is kept, too."""
        text = b""
        while (byte := self._stream.read(1)) not in (b"\0", b""):
            text += byte
        assert text, "the browser ended"
        message: dict[str, Any] = json.loads(text)
        if "method" in message:
            self._events.append(message)
        return message


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """Context with a running browser that keeps its files in a folder."""
    assert CHROMIUM is not None
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    command = [CHROMIUM, *options, f"--user-data-dir={folder}", "--remote-debugging-pipe"]
    with subprocess.Popen(
        ["bash", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}', "bash", *command],
        pass_fds=(theirs_in, theirs_out),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        os.close(theirs_in)
        os.close(theirs_out)
        try:
            with os.fdopen(ours_in, "rb") as stream:
                yield Browser(stream, ours_out)
        finally:
            os.close(ours_out)
            process.terminate()
