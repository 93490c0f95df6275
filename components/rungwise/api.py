"""The Python API: a workspace object whose methods return typed results.

Each method does what the command of the same name does. It raises RungwiseError if the command would exit with 2.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rungwise.workspace.process import prepare_environment

if TYPE_CHECKING:
    from rungwise.climbing.incumbent import Incumbent
    from rungwise.generate.queries import Generator
    from rungwise.pipeline.steps import TaskResult
    from rungwise.release.champion import Answer
    from rungwise.release.compare import Differing, Labelled
    from rungwise.release.gate import Verdict
    from rungwise.report.read import Explanation, Status


class Workspace:
    """A folder with params.yaml, dvc.yaml and data/.

    Creating one sets environment variables of the libraries that it uses, unless they are set: usage telemetry is off.

    Example:
        >>> workspace = Workspace("tickets")
        >>> workspace.run()
        >>> workspace.predict("route", "The zip of my tent is stuck").answer
    """

    def __init__(self, root: str | Path = ".") -> None:
        self.root = Path(root).expanduser().resolve()
        """The workspace's folder."""
        prepare_environment()

    @classmethod
    def init(
        cls, folder: str | Path, *, rows: str | Path, text: str, answer: str, bases: Sequence[str] = ()
    ) -> "Workspace":
        """Makes a workspace from a file of rows and returns it; params.yaml says what was guessed.

        Args:
            folder: the workspace's folder; it is created, or joins the git repository that it is in.
            rows: a CSV, TSV, JSON or JSON-lines file.
            text: the column that the model reads.
            answer: the column with the right answers.
            bases: folders, GGUF files, hub names or embedded bases, smallest first; default: SmolLM2-135M.

        Raises:
            RungwiseError: the rows can't be used, or the folder can't become a workspace.
        """
        from rungwise.init.init import init

        workspace = cls(folder)
        init(workspace.root, Path(rows), text, answer, bases=bases)
        return workspace

    def __repr__(self) -> str:
        return f"Workspace({str(self.root)!r})"

    def run(self, task: str | None = None) -> "tuple[TaskResult, ...]":
        """Brings everything up to date: collects, climbs, registers and promotes.

        Args:
            task: the only task to train, register and promote; nothing is registered while the store lacks a rung of
                another task. Default: all tasks.

        Returns:
            The result of each task, in the order of params.yaml.

        Raises:
            RungwiseError: a step fails. Completed work is kept, and the next run continues from there.
        """
        from rungwise.pipeline.repro import ReproRunner
        from rungwise.pipeline.steps import run

        return run(self.root, ReproRunner(prepares_first=task is not None), task)

    def status(self) -> "Status":
        """Returns the status of each task: bar, ladder, evidence, decision, challenger and champion.

        Raises:
            RungwiseError: params.yaml is not valid, or MLflow can't be read.
        """
        from rungwise.report.read import status

        return status(self.root)

    def explain(self, task: str) -> "Explanation":
        """Returns a task's last climb: its metric, what its rows can show, each rung's evidence and decision.

        Raises:
            RungwiseError: the task does not exist, or it was not climbed yet.
        """
        from rungwise.report.read import explain

        return explain(self.root, task)[task]

    def incumbent(self) -> "dict[str, Incumbent]":
        """Asks the incumbent of params.yaml about the validation rows; returns its figures for each task.

        Raises:
            RungwiseError: the section `incumbent`, its consent or its key is missing, or the rows were not split yet.
        """
        from rungwise.climbing.incumbent import ask_incumbent
        from rungwise.workspace.layout import settings_of
        from rungwise.workspace.lock import locked

        settings_of(self.root)
        with locked(self.root, "rungwise incumbent"):
            return ask_incumbent(self.root)

    def predict(self, task: str, text: str | None = None, *, fields: Mapping[str, str] | None = None) -> "Answer":
        """Returns the champion's answer to one row.

        Args:
            task: a task of params.yaml.
            text: the text for the prompt's only slot.
            fields: slot -> text, for a prompt with several slots.

        Raises:
            RungwiseError: there is no champion, the fields are not the prompt's slots, or the row is too long.
        """
        from rungwise.release.champion import answer

        return answer(self.root, task, fields or {}, text)

    def promote(self, task: str) -> "Verdict":
        """Scores the task's challenger on the test rows, and makes it the champion if it passes the gate.

        Raises:
            RungwiseError: there is no challenger, or its reloaded outputs differ.
        """
        from rungwise.release.promote import promote
        from rungwise.workspace.layout import settings_of
        from rungwise.workspace.lock import locked

        settings_of(self.root)  # report a missing params.yaml before the lock creates a folder
        with locked(self.root, "rungwise promote"):
            return promote(self.root, task)

    def generate(
        self, task: str, wanted: Mapping[str, int] | None = None, *, generator: "Generator | None" = None
    ) -> dict[str, Any]:
        """Generates training rows into data/raw; returns what was kept, dropped and missing, and the file.

        Args:
            task: a task of params.yaml whose answers are labels.
            wanted: label -> number of rows; default: what `augment` requires.
            generator: writes the texts; default: the server of `augment.endpoint`.

        Raises:
            RungwiseError: the task or label does not exist, the rows are not split yet, or the generator fails.
        """
        from rungwise.generate.fulfil import fulfil
        from rungwise.workspace.layout import settings_of
        from rungwise.workspace.lock import locked

        settings_of(self.root)
        with locked(self.root, "rungwise generate"):
            return fulfil(self.root, task, None, wanted or {}, generator=generator)

    def write_differing(
        self,
        task: str,
        rows: str | Path,
        to: str | Path,
        *,
        n: int = 100,
        versions: Sequence[str] = ("challenger", "champion"),
    ) -> "Differing":
        """Answers rows with two versions, and writes a file of rows on which they differ, for people to label.

        Args:
            task: a task of params.yaml with labels, lists or objects.
            rows: a file of rows with a column for each slot of the prompt.
            to: the file to write.
            n: how many rows to write at most.
            versions: `champion`, `challenger`, or numbers.

        Raises:
            RungwiseError: the rows can't be read, a version is missing, `to` is there already, or no answers differ.
        """
        from rungwise.release.compare import write_differing

        return write_differing(self.root, task, versions, Path(rows), n, Path(to))

    def judge_labels(
        self, task: str, labels: str | Path, *, versions: Sequence[str] = ("challenger", "champion")
    ) -> "Labelled":
        """Returns which of two versions is better by the labels in a file of `write_differing`; nothing is promoted.

        Raises:
            RungwiseError: the file can't be read, no row has an answer, or one is not among the task's labels.
        """
        from rungwise.release.compare import judge_labels

        return judge_labels(self.root, task, versions, Path(labels))

    def pack(self, task: str, rung: str, folder: str | Path) -> str:
        """Writes a rung's attempt as a bundle that another machine can run; returns the attempt's name.

        Raises:
            RungwiseError: there is no such task or rung, it trains nothing, or its rows are not split yet.
        """
        from rungwise.climbing.exchange import pack
        from rungwise.workspace.lock import locked

        with locked(self.root, "rungwise pack"):
            return pack(self.root, task, rung, Path(folder))

    def unpack(self, folder: str | Path) -> tuple[str, tuple[str, ...]]:
        """Stores the result of a bundle; returns the attempt's name and the `task/rung` that it belongs to.

        Raises:
            RungwiseError: the bundle was not run, was changed since, or its result is not that of a rung as
                params.yaml, the prepared rows and the bases are now.
        """
        from rungwise.climbing.exchange import unpack
        from rungwise.workspace.lock import locked

        with locked(self.root, "rungwise unpack"):
            return unpack(self.root, Path(folder))
