"""The runs in MLflow: one for each climb, and nested in it one for each attempt, with settings, metrics and files."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rungwise.attempts.store import SHOWN
from rungwise.core.decisions import Climb
from rungwise.core.records import Evidence, digest
from rungwise.release.connection import TAG, VERDICT, Connection, all_pages, short
from rungwise.release.facts import (
    Times,
    climb_note,
    curves_of,
    metrics_of,
    params_of,
    times_of,
    verdict_text,
    version_note,
)
from rungwise.release.gate import Verdict
from rungwise.release.leftovers import scratch
from rungwise.release.pictures import LADDER, ladder_picture

_NOTE, _PARENT = "mlflow.note.content", "mlflow.parentRunId"
"""MLflow's own tags for a description and for the run in which a run is nested."""


def log_climb(
    connection: Connection,
    experiment: str,
    climb: Climb,
    attempts: Mapping[str, Path | None],
    data_version: str,
    *,
    pictures: Mapping[str, str] | None = None,
    source: str = "rungwise run",
) -> dict[str, str]:
    """Logs a climb as a run and its attempts as runs nested in it; returns rung -> the id of its run.

    Runs that exist are not logged again, and those that a killed process left are completed.

    Args:
        connection: to MLflow.
        experiment: the experiment's name.
        climb: the climb.
        attempts: rung -> the attempt's folder; None where the store has none.
        data_version: the rows of the climb.
        pictures: file name -> SVG, which become files of the climb's run.
        source: the command or function that does this.
    """
    own = {"task": climb.task, "data_version": data_version, "climb": climb_name(climb, data_version)}
    times = {rung: times_of(attempt) for rung, attempt in attempts.items()}
    whole = Times(
        min((one.start for one in times.values() if one.start), default=None),
        max((one.end for one in times.values() if one.end), default=None),
    )
    with scratch(connection.root), connection.client() as (mlflow, client):
        experiment_id = connection.experiment(client, experiment)
        logged = _Logged(connection, mlflow, client, experiment_id, _source(connection.root, source))
        title = f"{climb.task}: data {data_version}"
        parent, is_new = logged.opened({**own, "kind": "climb"}, title, whole, {_NOTE: climb_note(climb, data_version)})
        runs = {}
        for evidence in climb.evidence:
            attempt = attempts[evidence.rung]
            tags = {**own, "kind": "attempt", "rung": evidence.rung, "attempt": short(evidence.attempt)}
            name = f"{climb.task}/{evidence.rung}"
            more = {_PARENT: parent.info.run_id, _NOTE: version_note(climb, evidence, data_version)}
            run, is_open = logged.opened(tags, name, times[evidence.rung], more)
            runs[evidence.rung] = str(run.info.run_id)
            if is_open:
                logged.attempt(run, climb, evidence, attempt, data_version)
                client.set_terminated(run.info.run_id, "FINISHED", times[evidence.rung].end)
        if is_new:
            logged.climb(parent, climb, data_version, pictures or {})
            client.set_terminated(parent.info.run_id, "FINISHED", whole.end)
        return runs


def log_verdict(connection: Connection, experiment: str, climb: Climb, data_version: str, verdict: Verdict) -> None:
    """Writes the gate's verdict on the rung that passed into the climb's run: tag, description and picture."""
    text = verdict_text(verdict)
    with scratch(connection.root), connection.client() as (_, client):
        known = client.get_experiment_by_name(experiment)
        query = f"tags.`{TAG}kind` = 'climb' and tags.`{TAG}climb` = '{climb_name(climb, data_version)}'"
        for run in client.search_runs([known.experiment_id], query) if known else ():
            if run.data.tags.get(VERDICT) != text:
                run_id = run.info.run_id
                client.log_text(run_id, ladder_picture(climb, verdict), LADDER)
                client.set_tag(run_id, _NOTE, climb_note(climb, data_version, verdict))
                client.set_tag(run_id, VERDICT, text)  # last, so that a killed process does all of it again


def climb_name(climb: Climb, data_version: str) -> str:
    """Returns the short name of a climb: its task, rows, bar and attempts."""
    return digest([climb.task, data_version, climb.metric, climb.target, [e.attempt for e in climb.evidence]])[:12]


class _Logged:
    """Writes runs through one client."""

    def __init__(
        self, connection: Connection, mlflow: Any, client: Any, experiment_id: str, source: Mapping[str, str]
    ) -> None:
        self.connection, self.mlflow, self.client = connection, mlflow, client
        self.experiment_id, self.source = experiment_id, source

    def opened(self, tags: Mapping[str, str], name: str, times: Times, more: Mapping[str, str]) -> tuple[Any, bool]:
        """Returns the run with these tags, and whether it is to be completed."""
        # earlier versions of this package wrote the whole digest of an attempt
        equals = {k: f"LIKE '{v}%'" if k == "attempt" else f"= '{v}'" for k, v in tags.items()}
        query = " and ".join(f"tags.`{TAG}{k}` {test}" for k, test in equals.items())
        runs = self.client.search_runs([self.experiment_id], query, order_by=["attributes.status ASC"])
        if runs and runs[0].info.status == "FINISHED":
            return runs[0], False
        if runs:
            self.connection.remove(runs[0].info.artifact_uri)  # perhaps half a file
            return runs[0], True
        every = {TAG + key: value for key, value in tags.items()} | dict(more) | dict(self.source)
        run = self.client.create_run(self.experiment_id, start_time=times.start, run_name=name, tags=every)
        return run, True

    def attempt(self, run: Any, climb: Climb, evidence: Evidence, attempt: Path | None, data_version: str) -> None:
        """Logs an attempt's settings, metrics, curves, rows and files."""
        from rungwise.model.embed import ANSWERS  # it loads torch, and `status` imports this module

        points = {name: [(0, value)] for name, value in metrics_of(evidence, attempt).items()}
        points |= curves_of(evidence, attempt)
        self._batch(run, params_of(climb, evidence, attempt), points, times_of(attempt))
        self._inputs(run, climb, data_version, {"train": evidence.train_rows, "dev": evidence.n})
        hashes = {"attempt": evidence.attempt, "base_sha256": evidence.base_digest, "data_version": data_version}
        self.client.log_dict(run.info.run_id, hashes, "identity.json")
        for path in sorted(attempt.iterdir()) if attempt is not None else ():
            if path.name not in (SHOWN, ANSWERS):  # they hold text of rows, which must not leave the workspace
                self.client.log_artifact(run.info.run_id, str(path), "attempt")

    def climb(self, run: Any, climb: Climb, data_version: str, pictures: Mapping[str, str]) -> None:
        """Logs a climb's bar, best score and pictures."""
        best = next((e for e in climb.evidence if e.rung == climb.decision.rung and e.score), None)
        points: dict[str, list[tuple[int, float]]] = {"bar": [(0, climb.target)]}
        if best and best.score:
            values = {"dev_score": best.score.value, "dev_score_low": best.score.low, "dev_score_high": best.score.high}
            points |= {name: [(0, value)] for name, value in values.items()}
        chosen = {"chosen": climb.decision.rung or "none", "passes": climb.decision.passes}
        params = {"metric": climb.metric, "bar": climb.target, "data_version": data_version, **chosen}
        self._batch(run, params, points, Times())
        for name, picture in pictures.items():
            self.client.log_text(run.info.run_id, picture, name)

    def _batch(
        self,
        run: Any,
        params: Mapping[str, Any],
        points: Mapping[str, Sequence[tuple[int, float]]],
        times: Times,
    ) -> None:
        """Logs what the run lacks, in one request."""
        entities, when = self.mlflow.entities, times.end or run.info.start_time
        metrics = [
            entities.Metric(name, value, when, step)
            for name, curve in points.items()
            if name not in run.data.metrics
            for step, value in curve
        ]
        new = [entities.Param(key, str(value)) for key, value in params.items() if key not in run.data.params]
        self.client.log_batch(run.info.run_id, metrics, new)

    def _inputs(self, run: Any, climb: Climb, data_version: str, rows: Mapping[str, int]) -> None:
        """Names the rows as datasets: their name, version and number, no text."""
        entities = self.mlflow.entities
        source = json.dumps({"uri": f"data/split/{climb.task}"})
        inputs = [
            entities.DatasetInput(
                entities.Dataset(
                    f"{climb.task}-{side}", data_version, "local", source, profile=json.dumps({"num_rows": n})
                ),
                [entities.InputTag("mlflow.data.context", side)],
            )
            for side, n in rows.items()
        ]
        self.client.log_inputs(run.info.run_id, inputs)


def _source(root: Path, name: str) -> dict[str, str]:
    """Returns MLflow's tags for what made a run: its entry point, and the workspace's commit if it is a repository."""
    command = ["git", "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
        commit = "" if done.returncode else done.stdout.strip()
    except OSError:  # git is not installed
        commit = ""
    tags = {"mlflow.source.name": name, "mlflow.source.type": "LOCAL"}
    return tags | ({"mlflow.source.git.commit": commit} if commit else {})


def delete_runs(connection: Connection, attempts: Sequence[str], data_versions: Sequence[str]) -> tuple[int, list[str]]:
    """Removes the runs of some attempts and of some data versions, with their logged models and files.

    Returns the number of these runs, and the places of files outside the workspace, which are not removed.
    """
    if connection.has_no_database():
        return 0, []
    queries = [f"tags.`{TAG}attempt` LIKE '{short(name)}%'" for name in attempts]
    queries += [f"tags.`{TAG}data_version` = '{name}'" for name in data_versions]
    left: list[str] = []
    with connection.client() as (mlflow, client):
        everything = mlflow.entities.ViewType.ALL  # a run that a user deleted still has its files
        experiments = [e.experiment_id for e in client.search_experiments(view_type=everything)]
        runs = {
            run.info.run_id: run
            for query in queries
            for run in all_pages(client.search_runs, experiments, query, run_view_type=everything)
        }
        for run_id, run in runs.items():
            for model in client.search_logged_models(experiments, f"source_run_id = '{run_id}'"):
                client.delete_logged_model(model.model_id)
                left += connection.remove(model.artifact_location)
            left += connection.remove(run.info.artifact_uri)
            if run.info.lifecycle_stage == "active":
                client.delete_run(run_id)
    return len(runs), left
