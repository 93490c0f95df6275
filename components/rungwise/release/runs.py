"""The runs in MLflow: one for each attempt on each version of the rows, with its settings, metrics and files."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rungwise.attempts.store import COST, RESULT, SHOWN, SPEC
from rungwise.core.decisions import Climb
from rungwise.core.folders import read_json
from rungwise.core.records import Evidence
from rungwise.model.embed import ANSWERS
from rungwise.release.connection import TAG, Connection, all_pages

_IDENTITY: Final = ("task", "rung", "attempt", "data_version", "target")
"""The tags that identify the run of an attempt."""


def log_attempt(
    connection: Connection,
    experiment: str,
    climb: Climb,
    evidence: Evidence,
    attempt: Path | None,
    data_version: str,
) -> str:
    """Returns the id of the attempt's run on this data version, which is complete.

    The run is logged unless it exists. One that a killed process left is completed.
    """
    with connection.client() as (mlflow, client):
        experiment_id = connection.experiment(client, experiment)
        tags = {
            "task": climb.task,
            "rung": evidence.rung,
            "attempt": evidence.attempt,
            "data_version": data_version,
            "target": str(climb.target),
            "base": evidence.base,
            "base_sha256": evidence.base_digest,
        }
        query = " and ".join(f"tags.`{TAG}{k}` = '{v}'" for k, v in tags.items() if k in _IDENTITY)
        runs = client.search_runs([experiment_id], query, order_by=["attributes.status ASC"])  # FINISHED, RUNNING
        if runs and runs[0].info.status == "FINISHED":
            return str(runs[0].info.run_id)
        if runs:
            run = runs[0]
            connection.remove(run.info.artifact_uri)  # perhaps half a file
        else:
            name = f"{climb.task}/{evidence.rung}"
            run = client.create_run(experiment_id, run_name=name, tags={TAG + k: v for k, v in tags.items()})
        run_id, now = str(run.info.run_id), round(1000 * time.time())
        params = {k: v for k, v in _params(evidence, attempt).items() if k not in run.data.params}
        numbers = {k: v for k, v in _metrics(evidence, attempt).items() if k not in run.data.metrics}
        client.log_batch(
            run_id,
            [mlflow.entities.Metric(key, number, now, 0) for key, number in numbers.items()],
            [mlflow.entities.Param(key, str(value)) for key, value in params.items()],
        )
        if attempt is not None:
            for path in sorted(attempt.iterdir()):
                if path.name not in (SHOWN, ANSWERS):  # they hold text of rows, which must not leave the workspace
                    client.log_artifact(run_id, str(path), "attempt")
        client.set_terminated(run_id, "FINISHED")
        return run_id


def delete_runs(connection: Connection, attempts: Sequence[str], data_versions: Sequence[str]) -> tuple[int, list[str]]:
    """Removes the runs of some attempts and of some data versions, with their logged models and files.

    Returns the number of these runs, and the places of files outside the workspace, which are not removed.
    """
    if connection.has_no_database():
        return 0, []
    queries = [f"tags.`{TAG}attempt` = '{name}'" for name in attempts]
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


def _params(evidence: Evidence, attempt: Path | None) -> dict[str, Any]:
    spec = read_json(attempt / SPEC) if attempt else {}
    spec = {k: v for k, v in spec.items() if k not in ("prompt", "form", "base", "prompting")}
    chosen = read_json(attempt / RESULT).get("prompting") if attempt else None
    if chosen:
        form = chosen["form"]
        spec |= {"template": form["template"], "examples": chosen["examples_shown"], "calibration": form["calibration"]}
    return {**spec, "base": evidence.base, "rung": evidence.rung, "train_rows": evidence.train_rows}


def _metrics(evidence: Evidence, attempt: Path | None) -> dict[str, float]:
    metrics: dict[str, float] = {
        "trained_parameters": evidence.trained_parameters,
        "train_tokens": evidence.train_tokens,
        "dev_rows": evidence.n,
        "dev_unscored": sum(evidence.unscored.values()),
    }
    if evidence.score:
        score = evidence.score
        metrics |= {"dev_score": score.value, "dev_score_low": score.low, "dev_score_high": score.high}
    metrics |= {f"dev_{name.replace(' ', '_')}": also.value for name, also in evidence.also.items()}
    if attempt and (attempt / COST).is_file():
        metrics["train_seconds"] = read_json(attempt / COST)["seconds"]
    return metrics
