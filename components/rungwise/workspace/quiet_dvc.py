"""The `dvc` command without its messages: what it warns of goes to a file, and stages write to the terminal themselves.

`dvc --quiet` would lose DVC's errors, too. DVC's own log: https://github.com/iterative/dvc/blob/main/dvc/logger.py
"""

import logging
import os
import sys
from collections.abc import Sequence
from typing import Final

LOG = "RUNGWISE_DVC_LOG"
"""The environment variable with the path of that file."""
_MOST_CAUSES: Final = 8


class _Messages(logging.Formatter):
    """Writes a message and those of its causes on one line, without a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        messages, error = [record.getMessage()], (record.exc_info or (None, None))[1]
        while error and len(messages) < _MOST_CAUSES:
            messages.append(str(error))
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return ": ".join(dict.fromkeys(" ".join(text.split()) for text in messages if text.strip()))


def main(argv: Sequence[str]) -> int:
    """Runs one command of DVC and returns its exit code."""
    import dvc.cli  # importing DVC sets up its handlers, which are replaced here

    handler = logging.FileHandler(os.environ[LOG], encoding="utf-8")
    handler.setLevel(logging.WARNING)
    handler.setFormatter(_Messages())
    for name in ("dvc", "dvc_objects", "dvc_data"):
        logging.getLogger(name).handlers = [handler]
    logging.getLogger("dvc.progress").setLevel(logging.CRITICAL)
    code: int = dvc.cli.main(list(argv))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
