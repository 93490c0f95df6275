"""Messages and progress on standard error: single lines, and a progress bar or progress lines."""

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rungwise.core.texts import visible

_BAR: Final = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}, {remaining} left{postfix}"


class Pace:
    """When a line of progress is due, so that long work has about twenty and never looks stuck.

    At the end, and after some seconds if a twentieth of the work was done since the last line, or a minute passed.
    """

    def __init__(self, seconds_between: float = 5.0) -> None:
        self._between = seconds_between
        self._last, self._done = time.monotonic(), 0

    def is_due(self, done: int, total: int) -> bool:
        """Whether a line is due now; the next one is counted from here then."""
        passed = time.monotonic() - self._last
        has_moved = 20 * (done - self._done) >= total or passed >= 12 * self._between
        if done != total and not (passed >= self._between and has_moved):
            return False
        self._last, self._done = time.monotonic(), done
        return True


class LineProgress:
    """Progress on standard error: on a terminal a bar with the time left, elsewhere plain lines (see `Pace`)."""

    def __init__(self, label: str, seconds_between: float = 5.0) -> None:
        self._label = label
        self._pace = Pace(seconds_between)
        self._bar: object = None

    def __call__(self, done: int, total: int, what: str) -> None:
        """Shows that `done` of `total` units are done; `what` names the unit."""
        if sys.stderr.isatty():
            self._show_bar(done, total, what)
        elif self._pace.is_due(done, total):
            sys.stderr.write(visible(f"{self._label}: {done}/{total} {what}") + "\n")
            sys.stderr.flush()

    def _show_bar(self, done: int, total: int, what: str) -> None:
        from tqdm import tqdm

        if self._bar is None:
            # a terminal that says no width, such as a container's, has 80 columns; resumed work counts in no rate
            width = shutil.get_terminal_size().columns
            shape = {"desc": self._label, "ncols": width, "bar_format": _BAR, "postfix": what}
            self._bar = tqdm(total=total, leave=False, initial=done, **shape)
        bar = self._bar
        assert isinstance(bar, tqdm)
        bar.set_postfix_str(what, refresh=False)
        bar.update(done - bar.n)
        if done == total:
            bar.close()
            self._bar = None


_listeners: list[Callable[[str], None]] = []


def say(text: str) -> None:
    """Writes one line to standard error, or passes it to the listener; row text in it can't control a terminal."""
    line = visible(text)
    if _listeners:
        _listeners[-1](line)
        return
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


@contextmanager
def heard(listener: Callable[[str], None]) -> Iterator[None]:
    """Context in which `listener` gets each line of `say`, in place of standard error."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
