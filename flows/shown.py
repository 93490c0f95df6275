"""What a run shows in Prefect: lines in its log, an artifact for each step, its name, and an error of the user once."""

import base64
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from prefect import get_run_logger, runtime
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State

from rungwise.core.errors import RungwiseError
from rungwise.core.progress import heard
from rungwise.core.texts import markdown
from rungwise.workspace.process import workspace_root

UNCHANGED: Final = "nothing changed, so that it did not run again; the figures are those of its last run"
"""What the artifact of a stage says that was up to date."""


@contextmanager
def logged(step: str, table: Callable[[], str]) -> Iterator[None]:
    """Context in which what a stage says goes to the run's log, and is published with its table when it ends."""
    lines: list[str] = []
    logger = get_run_logger()

    def hear(line: str) -> None:
        lines.append(line)
        logger.log(logging.WARNING if "warning:" in line else logging.INFO, line)

    with heard(hear):
        yield
    show_step(step, table(), lines)


def show_step(key: str, table: str, lines: Sequence[str] = ()) -> None:
    """Publishes what a step did: a table in Markdown, and lines of text."""
    listed = "\n".join(f"- {markdown(line)}" for line in lines)
    create_markdown_artifact(f"{table}\n\n{listed}".strip(), key=key, description=f"Step {key}")


def show_picture(key: str, svg: str, description: str) -> None:
    """Publishes an SVG as an artifact that holds it, so that no server has to keep the file."""
    address = "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
    create_markdown_artifact(f"![{markdown(description)}]({address})", key=key, description=description)


def run_name(data_version: str = "") -> str:
    """Returns the name of a run: the workspace, the deployment, the day, and the rows once they are known."""
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    name = f"{workspace_root().name}: {runtime.deployment.name or 'run'} {day}"
    return f"{name}, data {data_version}" if data_version else name


def rename_run(data_version: str) -> None:
    """Adds the version of the rows to the name of the flow's run."""
    run = runtime.flow_run.id
    if run:
        with get_client(sync_client=True) as client:
            client.update_flow_run(run, name=run_name(data_version))


def is_transient_failure(task: object, run: object, state: State[Any]) -> bool:
    """Whether a task that failed may succeed when it is run again: it could not reach a server."""
    del task, run
    error = state.data
    return isinstance(error, RungwiseError) and error.problem.is_transient


class OwnErrors(logging.Filter):
    """Shows an error that a user can fix once, as the flow's message: no traceback, and not for its task again."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Returns whether the record is shown."""
        if isinstance(record.args, tuple) and any(isinstance(one, RungwiseError) for one in record.args):
            lines = [one.problem.line if isinstance(one, RungwiseError) else one for one in record.args]
            record.msg, record.args = str(record.msg).replace("%r", "%s"), tuple(lines)
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, RungwiseError):
            self._shorten(record)
            return True
        self._seen.add(str(error).partition("\n")[0])
        record.exc_info, record.exc_text = None, None
        record.msg, record.args = "%s", (str(error),)
        return not record.name.startswith("prefect.task_runs")

    def _shorten(self, record: logging.LogRecord) -> None:
        """Leaves the error's text out of the line that names a run's last state."""
        text = record.getMessage()
        state, bracket, rest = text.partition("(")
        if (
            state.startswith("Finished in state Failed")
            and bracket
            and any(self._is_in(one, rest) for one in self._seen)
        ):
            record.msg, record.args = state, ()

    @staticmethod
    def _is_in(first: str, text: str) -> bool:
        return first in text.replace("\\'", "'")


def show_errors_once() -> None:
    """Makes Prefect's logs show errors of the user as `OwnErrors` says, for the rest of this process."""
    loggers = [logging.getLogger(name) for name in ("prefect.flow_runs", "prefect.task_runs")]
    if not any(isinstance(one, OwnErrors) for one in loggers[0].filters):
        own = OwnErrors()
        for logger in loggers:
            logger.addFilter(own)
