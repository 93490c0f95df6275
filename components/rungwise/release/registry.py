"""The registered models of a workspace: one for each task, with the aliases `challenger` and `champion`.

Only the attempt (adapter, spec, recorded logits) is stored, with the base's name, revision and hash:
`mlflow.transformers.log_model` of an adapter was seen to reload other weights without a warning. `versions` adds a
version, `runs` logs the runs.
"""

import functools
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rungwise.core.errors import Problem, RegistryError
from rungwise.core.folders import read_json, tree_digests
from rungwise.core.records import digest
from rungwise.release.aliases import aliases_of, folder_of
from rungwise.release.connection import Connection, own_tags
from rungwise.workspace.layout import settings_of

CHALLENGER, CHAMPION = "challenger", "champion"
IDENTITY: Final = "identity.json"
"""The file of a stored model with its hashes and ids."""


@dataclass(frozen=True)
class Version:
    """One version of a task's registered model."""

    task: str
    number: int
    tags: Mapping[str, str]
    """Tags without their prefix: attempt (the beginning of its digest), data_version, base, rung, dev_score ..."""
    model: str
    """The name of the registered model (see `register.models`)."""

    @property
    def uri(self) -> str:
        """Its address in MLflow."""
        return f"models:/{self.model}/{self.number}"

    def is_of(self, attempt: str) -> bool:
        """Whether it is a version of the attempt with this digest."""
        own = self.tags.get("attempt")
        return bool(own) and attempt.startswith(str(own))


@dataclass(frozen=True)
class Registry:
    """The registered models of the workspace at `root`."""

    root: Path

    @property
    def _mlflow(self) -> Connection:
        return Connection(self.root)

    @functools.cached_property
    def _names(self) -> str:
        return settings_of(self.root).register_.models

    def model(self, task: str) -> str:
        """Returns the name of a task's registered model."""
        return self._names.format(task=task)

    def version_of(self, task: str, answered: Any) -> Version:
        """Returns a version of a task's model from MLflow's answer."""
        return Version(task, int(answered.version), own_tags(answered.tags), self.model(task))

    def aliases(self, task: str) -> dict[str, Version]:
        """Returns alias -> version of a task's model; empty where the model is not registered.

        Raises:
            RegistryError: the registry can't be asked.
        """
        if self._mlflow.has_no_database():
            return {}
        if self._mlflow.database:
            model = self.model(task)
            read = aliases_of(self._mlflow.database, model)
            if read is not None:
                return {alias: Version(task, number, own_tags(tags), model) for alias, (number, tags) in read.items()}
        asked = {alias: self.version(task, alias) for alias in (CHALLENGER, CHAMPION)}
        return {alias: version for alias, version in asked.items() if version}

    def version(self, task: str, alias: str) -> Version | None:
        """Returns the version that an alias names; None if there is no such model or alias."""
        if self._mlflow.has_no_database():
            return None
        with self._mlflow.client() as (mlflow, client):
            try:
                version = client.get_model_version_by_alias(self.model(task), alias)
            except mlflow.exceptions.MlflowException as error:
                if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    return None
                raise
            return self.version_of(task, version)

    def versions(self, task: str) -> list[Version]:
        """Returns all versions of a task's model, oldest first."""
        if self._mlflow.has_no_database():
            return []
        with self._mlflow.client() as (_, client):
            versions = [self.version_of(task, v) for v in client.search_model_versions(f"name = '{self.model(task)}'")]
        return sorted(versions, key=lambda version: version.number)

    def delete(self, task: str, number: int) -> list[str]:
        """Removes a version, the model that was logged for it, and its files in the workspace.

        Returns the places of files outside the workspace, which are not removed.
        """
        with self._mlflow.client() as (mlflow, client):
            version = client.get_model_version(self.model(task), str(number))
            client.delete_model_version(self.model(task), str(number))
            model_id = getattr(version, "model_id", None) or version.source.removeprefix("models:/")
            try:
                folder = client.get_logged_model(model_id).artifact_location
                client.delete_logged_model(model_id)
            except mlflow.exceptions.MlflowException:
                return []  # logged by an older client, without a model of its own
            return self._mlflow.remove(folder)

    def set_alias(self, version: Version, alias: str) -> None:
        """Sets `alias` to the version."""
        with self._mlflow.client() as (_, client):
            client.set_registered_model_alias(version.model, alias, str(version.number))

    @contextmanager
    def attempt_folder(self, version: Version) -> Iterator[Path]:
        """Yields a folder with the files of the version's attempt.

        Raises:
            RegistryError: the files are missing, or are not those that were registered.
        """
        with self._stored(version) as stored:
            folder = stored / "artifacts" / "attempt"
            stored_digest = digest(tree_digests(folder)) if folder.is_dir() else "no folder `attempt`"
            registered = _identity(stored, version).get("artifact_sha256")
            if stored_digest != registered:
                raise RegistryError(
                    Problem(
                        "a registered model's files were changed or lost",
                        where=version.uri,
                        found=stored_digest,
                        wanted=registered or "the digest of what was registered",
                        do="register it again (`rungwise run`)",
                    )
                )
            yield folder

    def identity(self, version: Version) -> Mapping[str, str]:
        """Returns the hashes and ids of a version: attempt, artifact_sha256, base_revision, base_sha256, run_id."""
        with self._stored(version) as stored:
            return _identity(stored, version)

    @contextmanager
    def _stored(self, version: Version) -> Iterator[Path]:
        """Yields the folder of a version's files: the registry's own where it is on this machine, else a copy."""
        local = folder_of(self._mlflow.database, version.model, version.number) if self._mlflow.database else None
        if local:
            yield local
            return
        with self._mlflow.client() as (mlflow, _), tempfile.TemporaryDirectory() as temporary:
            try:
                fetched = Path(mlflow.artifacts.download_artifacts(artifact_uri=version.uri, dst_path=temporary))
            except OSError:
                fetched = Path(temporary)
            yield fetched


def _identity(stored: Path, version: Version) -> Mapping[str, str]:
    """Returns what a model's folder says about its hashes; earlier versions of this package kept them in tags."""
    path = stored / "artifacts" / IDENTITY
    return {**version.tags, **(read_json(path) if path.is_file() else {})}
