"""Messages and progress on standard error: single lines, and a progress bar or progress lines."""

import sys
import time


class LineProgress:
    """Progress on standard error: a bar on a terminal, elsewhere a plain line every few seconds."""

    def __init__(self, label: str, seconds_between: float = 5.0) -> None:
        self._label, self._between = label, seconds_between
        self._last = time.monotonic()
        self._bar: object = None

    def __call__(self, done: int, total: int, what: str) -> None:
        """Shows that `done` of `total` units are done; `what` names the unit."""
        if sys.stderr.isatty():
            self._show_bar(done, total, what)
        elif done == total or time.monotonic() - self._last >= self._between:
            self._last = time.monotonic()
            sys.stderr.write(f"{self._label}: {done}/{total} {what}\n")
            sys.stderr.flush()

    def _show_bar(self, done: int, total: int, what: str) -> None:
        from tqdm import tqdm

        if self._bar is None:
            self._bar = tqdm(total=total, desc=self._label, leave=False)
        bar = self._bar
        assert isinstance(bar, tqdm)
        bar.set_postfix_str(what, refresh=False)
        bar.update(done - bar.n)
        if done == total:
            bar.close()
            self._bar = None


def say(text: str) -> None:
    """Writes one line to standard error."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
