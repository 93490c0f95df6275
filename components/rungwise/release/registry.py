"""MLflow: a run per attempt, a registered model per task, the aliases `challenger` and `champion`.

By default MLflow uses SQLite and a folder in the workspace; MLFLOW_TRACKING_URI names a server instead. Only the
attempt (adapter, spec, recorded logits) is stored, with the base's name, revision and hash:
`mlflow.transformers.log_model` of an adapter was seen to reload other weights without a warning. Everything here is
idempotent: what is in the registry already is found by its tags and not written twice.
"""

import contextlib
import io
import logging
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from rungwise.attempts.store import COST, RESULT, SHOWN, SPEC, answering_versions
from rungwise.core.decisions import Climb
from rungwise.core.errors import Problem, RegistryError
from rungwise.core.folders import read_json, tree_digests
from rungwise.core.records import Evidence, digest, spec_from_json
from rungwise.model.bases import quantization
from rungwise.model.embed import ANSWERS
from rungwise.release import parity
from rungwise.release.aliases import aliases_of, folder_of

CHALLENGER, CHAMPION = "challenger", "champion"
_TAG = "rungwise."
_SERVER, _SQLITE = "MLFLOW_TRACKING_URI", "sqlite:///"
_ADDRESSES = (_SERVER, "MLFLOW_REGISTRY_URI")
"""Environment variables that MLflow sets when its addresses are set."""


@dataclass(frozen=True)
class Version:
    """One version of a task's registered model."""

    task: str
    number: int
    tags: Mapping[str, str]
    """Tags without their prefix: attempt, data_version, base, base_revision, base_sha256, rung, dev_score ..."""


def _without_secrets(text: str) -> str:
    return re.sub(r"//[^/@\s]+@", "//", text)


@contextmanager
def _quiet() -> Iterator[Any]:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # the default, 7, waits four minutes in silence
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside MLflow's own dependencies
        import mlflow
        from sqlalchemy.exc import SQLAlchemyError

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            yield mlflow
        except (mlflow.exceptions.MlflowException, SQLAlchemyError) as error:
            is_file = isinstance(error, SQLAlchemyError)
            raise RegistryError(
                Problem(
                    "the registry can't be read" if is_file else "the registry refused a request",
                    where=_without_secrets(mlflow.get_tracking_uri()),
                    found=_without_secrets(str(error).splitlines()[0])[:300],
                    do="restore the database file, or move it away: `rungwise run` registers again"
                    if is_file
                    else "check MLFLOW_TRACKING_URI and the server's log",
                )
            ) from None


@dataclass(frozen=True)
class Registry:
    """The workspace's MLflow; its database is made on first use."""

    root: Path

    @property
    def _uri(self) -> str:
        return os.environ.get(_SERVER) or f"sqlite:///{self.root / 'mlflow.db'}"

    @contextmanager
    def _client(self) -> Iterator[tuple[Any, Any]]:
        with _quiet() as mlflow:
            uri, before = self._uri, {name: os.environ.get(name) for name in _ADDRESSES}
            mlflow.set_tracking_uri(uri)
            mlflow.set_registry_uri(uri)
            try:
                yield mlflow, mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
            finally:
                # MLflow writes its addresses into the environment, where they would read as the user's own choice
                for name, value in before.items():
                    if value is None:
                        os.environ.pop(name, None)
                    else:
                        os.environ[name] = value

    @property
    def _database(self) -> Path | None:
        """The SQLite file; None if the registry is a server or another database."""
        return Path(self._uri.removeprefix(_SQLITE)) if self._uri.startswith(_SQLITE) else None

    def _has_no_database(self) -> bool:
        """Whether there is none yet: asking would make it, which takes seconds."""
        return self._database is not None and not self._database.exists()

    def aliases(self, task: str) -> dict[str, Version]:
        """Returns alias -> version of a task's model; empty where the model is not registered.

        Raises:
            RegistryError: the registry can't be asked.
        """
        if self._has_no_database():
            return {}
        if self._database:
            read = aliases_of(self._database, task)
            if read is not None:
                return {alias: Version(task, number, _own(tags)) for alias, (number, tags) in read.items()}
        asked = {alias: self.version(task, alias) for alias in (CHALLENGER, CHAMPION)}
        return {alias: version for alias, version in asked.items() if version}

    def version(self, task: str, alias: str) -> Version | None:
        """Returns the version that an alias names; None if there is no such model or alias."""
        if self._has_no_database():
            return None
        with self._client() as (mlflow, client):
            try:
                version = client.get_model_version_by_alias(task, alias)
            except mlflow.exceptions.MlflowException as error:
                if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    return None
                raise
            return _version(version)

    def versions(self, task: str) -> list[Version]:
        """Returns all versions of a task's model, oldest first."""
        if self._has_no_database():
            return []
        with self._client() as (_, client):
            versions = [_version(v) for v in client.search_model_versions(f"name = '{task}'")]
        return sorted(versions, key=lambda version: version.number)

    def delete(self, task: str, number: int) -> list[str]:
        """Removes a version, the model that was logged for it, and its files in the workspace.

        Returns the places of files outside the workspace, which are not removed.
        """
        with self._client() as (mlflow, client):
            version = client.get_model_version(task, str(number))
            client.delete_model_version(task, str(number))
            model_id = getattr(version, "model_id", None) or version.source.removeprefix("models:/")
            try:
                folder = client.get_logged_model(model_id).artifact_location
                client.delete_logged_model(model_id)
            except mlflow.exceptions.MlflowException:
                return []  # logged by an older client, without a model of its own
            return self._remove(folder)

    def delete_runs(self, attempts: Sequence[str], data_versions: Sequence[str]) -> tuple[int, list[str]]:
        """Removes the runs of some attempts and of some data versions, with their logged models and files.

        Returns the number of these runs, and the places of files outside the workspace, which are not removed.
        """
        if self._has_no_database():
            return 0, []
        queries = [f"tags.`{_TAG}attempt` = '{name}'" for name in attempts]
        queries += [f"tags.`{_TAG}data_version` = '{name}'" for name in data_versions]
        left: list[str] = []
        with self._client() as (mlflow, client):
            everything = mlflow.entities.ViewType.ALL  # a run that a user deleted still has its files
            experiments = [e.experiment_id for e in client.search_experiments(view_type=everything)]
            runs = {
                run.info.run_id: run
                for query in queries
                for run in _all_pages(client.search_runs, experiments, query, everything)
            }
            for run_id, run in runs.items():
                for model in client.search_logged_models(experiments, f"source_run_id = '{run_id}'"):
                    client.delete_logged_model(model.model_id)
                    left += self._remove(model.artifact_location)
                left += self._remove(run.info.artifact_uri)
                if run.info.lifecycle_stage == "active":
                    client.delete_run(run_id)
        return len(runs), left

    def _remove(self, place: str) -> list[str]:
        """Removes a folder if it is in the workspace; returns its place if it is still there afterwards."""
        path = Path(unquote(urlsplit(place).path))
        if urlsplit(place).scheme not in ("", "file"):
            return [_without_secrets(place)]
        if path.is_relative_to(self.root):
            shutil.rmtree(path, ignore_errors=True)
        return [str(path)] if path.exists() else []

    def set_alias(self, version: Version, alias: str) -> None:
        """Sets `alias` to the version."""
        with self._client() as (_, client):
            client.set_registered_model_alias(version.task, alias, str(version.number))

    @contextmanager
    def attempt_folder(self, version: Version) -> Iterator[Path]:
        """Yields a folder with the files of the version's attempt.

        Raises:
            RegistryError: the files are missing, or are not those that were registered.
        """
        with self._stored(version) as stored:
            folder = stored / "artifacts" / "attempt"
            stored_digest = digest(tree_digests(folder)) if folder.is_dir() else "no folder `attempt`"
            if stored_digest != version.tags.get("artifact_sha256"):
                raise RegistryError(
                    Problem(
                        "a registered model's files were changed or lost",
                        where=f"models:/{version.task}/{version.number}",
                        found=stored_digest,
                        wanted=version.tags.get("artifact_sha256", "the digest of what was registered"),
                        do="register it again (`rungwise run`)",
                    )
                )
            yield folder

    @contextmanager
    def _stored(self, version: Version) -> Iterator[Path]:
        """Yields the folder of a version's files: the registry's own where it is on this machine, else a copy."""
        local = folder_of(self._database, version.task, version.number) if self._database else None
        if local:
            yield local
            return
        with self._client() as (mlflow, _), tempfile.TemporaryDirectory() as temporary:
            try:
                uri = f"models:/{version.task}/{version.number}"
                fetched = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=temporary))
            except OSError:
                fetched = Path(temporary)
            yield fetched

    def log_attempt(
        self, experiment: str, climb: Climb, evidence: Evidence, attempt: Path | None, data_version: str
    ) -> str:
        """Returns the id of the attempt's run on this data version; the run is logged unless it exists."""
        with self._client() as (mlflow, client):
            experiment_id = self._experiment(client, experiment)
            tags = {
                "task": climb.task,
                "rung": evidence.rung,
                "attempt": evidence.attempt,
                "data_version": data_version,
                "target": str(climb.target),
                "base": evidence.base,
                "base_sha256": evidence.base_digest,
            }
            query = " and ".join(f"tags.`{_TAG}{k}` = '{v}'" for k, v in tags.items() if k in _IDENTITY)
            query += " and attributes.status = 'FINISHED'"
            logged = client.search_runs([experiment_id], query, max_results=1)
            if logged:
                return str(logged[0].info.run_id)
            name = f"{climb.task}/{evidence.rung}"
            run = client.create_run(experiment_id, run_name=name, tags={_TAG + k: v for k, v in tags.items()})
            run_id = str(run.info.run_id)
            for key, value in _params(evidence, attempt).items():
                client.log_param(run_id, key, value)
            for key, number in _metrics(evidence, attempt).items():
                client.log_metric(run_id, key, number)
            if attempt is not None:
                for path in sorted(attempt.iterdir()):
                    if path.name not in (SHOWN, ANSWERS):  # they hold text of rows, which must not leave the workspace
                        client.log_artifact(run_id, str(path), "attempt")
            client.set_terminated(run_id, "FINISHED")
            return run_id

    def register(self, climb: Climb, attempt: Path, run_id: str, data_version: str, split_version: str) -> Version:
        """Registers the climb's attempt as challenger, after a proof that it reloads exactly; returns its version.

        A version of the same attempt on the same data is not registered again. `attempt`: the folder with its files.

        Raises:
            RegistryError: MLflow refuses, or the stored model does not reload with equal logits.
        """
        evidence = next(e for e in climb.evidence if e.rung == climb.decision.rung)
        with self._client() as (mlflow, client):
            for found in client.search_model_versions(f"name = '{climb.task}'"):
                old = _version(found)
                same = (old.tags.get("attempt"), old.tags.get("data_version")) == (evidence.attempt, data_version)
                if same and old.tags.get("reload") == "exact" and self._is_whole(old):
                    client.set_registered_model_alias(old.task, CHALLENGER, str(old.number))
                    return old
            versions = {"data_version": data_version, "split_version": split_version}
            version = self._store(mlflow, client, climb, evidence, attempt, run_id, versions)
        with self.attempt_folder(version) as folder:
            parity.prove(folder, self.root)
        with self._client() as (_, client):
            client.set_model_version_tag(climb.task, str(version.number), _TAG + "reload", "exact")
        self.set_alias(version, CHALLENGER)
        return version

    def _is_whole(self, version: Version) -> bool:
        """Whether the version's files exist and are those that were registered."""
        try:
            with self.attempt_folder(version):
                return True
        except RegistryError:
            return False

    def _store(
        self,
        mlflow: Any,
        client: Any,
        climb: Climb,
        evidence: Evidence,
        attempt: Path,
        run_id: str,
        versions: Mapping[str, str],
    ) -> Version:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "attempt"
            shutil.copytree(attempt, folder)
            parity.record(folder, self.root)
            spec = spec_from_json(read_json(folder / SPEC))
            base = spec.base
            tags = {
                "task": climb.task,
                "rung": evidence.rung,
                "method": evidence.method,
                "attempt": evidence.attempt,
                **versions,
                "base": base.name if base else "",
                "base_revision": base.revision if base else "",
                "base_sha256": evidence.base_digest,
                "base_quantization": quantization(base, self.root) if base else "",
                "base_parameters": str(evidence.base_parameters),
                "artifact_sha256": digest(tree_digests(folder)),
                "run_id": run_id,
                **_score_tags(evidence),
            }
            with mlflow.start_run(run_id=run_id), contextlib.redirect_stderr(io.StringIO()):
                logged = mlflow.pyfunc.log_model(
                    name="attempt",
                    python_model=str(files("rungwise.serving") / "pyfunc.py"),
                    artifacts={"attempt": str(folder)},
                    pip_requirements=_requirements(answering_versions(spec)),
                )
                registered = mlflow.register_model(
                    f"models:/{logged.model_id}", climb.task, tags={_TAG + k: v for k, v in tags.items()}
                )
        return _version(client.get_model_version(climb.task, registered.version))

    def _experiment(self, client: Any, name: str) -> str:
        experiment = client.get_experiment_by_name(name)
        if experiment:
            self._check_place(name, experiment.artifact_location)
            return str(experiment.experiment_id)
        local = (self.root / "mlartifacts").as_uri() if self._uri.startswith("sqlite:") else None
        return str(client.create_experiment(name, artifact_location=local))

    def _check_place(self, name: str, location: str) -> None:
        """Checks that the files of the workspace's own database are in the workspace.

        MLflow records the folder at the start and still uses it after the workspace was moved or copied.
        """
        path = Path(unquote(urlsplit(location).path))
        is_own = self._uri == f"sqlite:///{self.root / 'mlflow.db'}" and urlsplit(location).scheme in ("", "file")
        if is_own and not path.resolve().is_relative_to(self.root.resolve()):
            raise RegistryError(
                Problem(
                    "the registry's files are outside the workspace",
                    where=f"{self.root / 'mlflow.db'}, experiment {name}",
                    found=str(path),
                    wanted=f"a folder in {self.root}: was the workspace moved or copied?",
                    do="set another experiment (`register: {experiment: NAME}`), whose files will be here; or move the "
                    "workspace back",
                )
            )


def _all_pages(search: Any, experiments: Sequence[str], query: str, view: int) -> Iterator[Any]:
    token = None
    while True:
        page = search(list(experiments), query, view, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


_IDENTITY = ("task", "rung", "attempt", "data_version", "target")
"""The tags that identify the run of an attempt."""


def _version(found: Any) -> Version:
    return Version(found.name, int(found.version), _own(found.tags))


def _requirements(libraries: Mapping[str, str]) -> list[str]:
    """Returns what an environment requires to load the model with MLflow: rungwise and its numeric libraries."""
    from importlib.metadata import version

    return [f"rungwise=={version('rungwise')}", *(f"{name}=={number}" for name, number in libraries.items())]


def _own(tags: Mapping[str, str]) -> dict[str, str]:
    """Returns this project's own tags without their prefix, in the order of their names."""
    return {k.removeprefix(_TAG): v for k, v in sorted(tags.items()) if k.startswith(_TAG)}


def _score_tags(evidence: Evidence) -> dict[str, str]:
    score = evidence.score
    if score is None:
        return {}
    numbers = {"dev_score": score.value, "dev_low": score.low, "dev_high": score.high, "dev_n": score.n}
    return {name: f"{number:g}" for name, number in numbers.items()}


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
