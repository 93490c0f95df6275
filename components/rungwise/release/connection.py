"""The connection to MLflow: its client, quiet and with errors of our own, and where its files are.

By default MLflow uses SQLite and a folder in the workspace; MLFLOW_TRACKING_URI names a server instead.
"""

import json
import logging
import os
import re
import shutil
import sqlite3
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rungwise.core.disk import disk_error
from rungwise.core.errors import Problem, RegistryError
from rungwise.release.aliases import address_of, database_of, local_path

TAG: Final = "rungwise."
"""The prefix of this project's own tags."""
VERDICT: Final = f"{TAG}verdict"
"""The tag of a version and of a climb's run with the gate's verdict and why."""
_IDENTITY: Final = "identity"
"""The tag in which earlier versions of this package kept the hashes of a version, as JSON."""
_SERVER = "MLFLOW_TRACKING_URI"
_ADDRESSES = (_SERVER, "MLFLOW_REGISTRY_URI")
"""Environment variables that MLflow sets when its addresses are set."""


def _without_secrets(text: str) -> str:
    return re.sub(r"//[^/@\s]+@", "//", text)


def _is_transient(error: Exception) -> bool:
    """Whether MLflow could not reach its server or database, or that was busy."""
    busy = ("TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED")
    text = str(error)
    is_lost = text.startswith("API request to") and ("exception" in text or re.search(r"error code 5\d\d", text))
    return getattr(error, "error_code", "") in busy or bool(is_lost) or "database is locked" in text


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
            logging.getLogger(name).setLevel(logging.CRITICAL)  # what they log as errors is raised, too
        try:
            yield mlflow
        except (mlflow.exceptions.MlflowException, SQLAlchemyError) as error:
            if full := disk_error(error):
                raise full from None
            database = database_of(mlflow.get_tracking_uri())
            is_file = isinstance(error, SQLAlchemyError) or (database is not None and "(sqlite3." in str(error))
            raise RegistryError(
                Problem(
                    "the registry can't be read" if is_file else "the registry refused a request",
                    where=str(database or _without_secrets(mlflow.get_tracking_uri())),
                    found=_without_secrets(str(error).splitlines()[0])[:300],
                    do="restore the database file, or move it away: `rungwise run` registers again"
                    if is_file
                    else "see what was refused; this file is the registry"
                    if database
                    else "check MLFLOW_TRACKING_URI and the server's log",
                    is_transient=_is_transient(error),
                )
            ) from None


@dataclass(frozen=True)
class Connection:
    """A workspace's connection to MLflow; its database is made on first use."""

    root: Path

    @property
    def uri(self) -> str:
        """The address of the tracking server and of the registry."""
        return os.environ.get(_SERVER) or self._own_uri

    @property
    def _own_uri(self) -> str:
        """The address of the workspace's own database."""
        return address_of(self.root / "mlflow.db")

    @contextmanager
    def client(self) -> Iterator[tuple[Any, Any]]:
        """Yields the module mlflow, whose addresses are set, and a client.

        Raises:
            RegistryError: MLflow refuses, or its database can't be read.
        """
        with _quiet() as mlflow:
            uri, before = self.uri, {name: os.environ.get(name) for name in _ADDRESSES}
            mlflow.set_tracking_uri(uri)
            mlflow.set_registry_uri(uri)
            try:
                if self.database and self.has_no_database():
                    self._make(mlflow, self.database)
                yield mlflow, mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
            finally:
                # MLflow writes its addresses into the environment, where they would read as the user's own choice
                for name, value in before.items():
                    if value is None:
                        os.environ.pop(name, None)
                    else:
                        os.environ[name] = value

    @property
    def database(self) -> Path | None:
        """The SQLite file; None if the registry is a server or another database."""
        return database_of(self.uri)

    def has_no_database(self) -> bool:
        """Whether there is none yet: asking would make it, which takes seconds."""
        return self.database is not None and not self.database.exists()

    def _make(self, mlflow: Any, database: Path) -> None:
        """Makes the database, under another name first: MLflow can't complete one that a kill left half made."""
        made, part = (self.root / ".rungwise" / f"mlflow.{name}.db" for name in ("made", "part"))
        made.parent.mkdir(exist_ok=True)
        for path in (made, part):
            path.unlink(missing_ok=True)
        mlflow.MlflowClient(address_of(made), address_of(made)).search_experiments(max_results=1)
        with closing(sqlite3.connect(made)) as source, closing(sqlite3.connect(part)) as target:
            source.backup(target)
        os.replace(part, database)
        made.unlink()

    def experiment(self, client: Any, name: str) -> str:
        """Returns the id of an experiment, which is made if it does not exist.

        Raises:
            RegistryError: its files would be outside the workspace.
        """
        experiment = client.get_experiment_by_name(name)
        if experiment:
            self._check_place(name, experiment.artifact_location)
            return str(experiment.experiment_id)
        local = (self.root / "mlartifacts").as_uri() if self.database else None
        # the experiment opens in the view for training runs
        tags = {"mlflow.experimentKind": "custom_model_development"}
        return str(client.create_experiment(name, artifact_location=local, tags=tags))

    def _check_place(self, name: str, location: str) -> None:
        """Checks that the files of the workspace's own database are in the workspace.

        MLflow records the folder at the start and still uses it after the workspace was moved or copied.
        """
        path = local_path(location)
        if path and self.uri == self._own_uri and not path.resolve().is_relative_to(self.root.resolve()):
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

    def remove(self, place: str) -> list[str]:
        """Removes a folder if it is in the workspace; returns its place if it is still there afterwards."""
        path = local_path(place)
        if path is None:
            return [_without_secrets(place)]
        if path.is_relative_to(self.root):
            shutil.rmtree(path, ignore_errors=True)
            if path.name == "artifacts":  # in a folder of its own, which is named after the run or model
                with suppress(OSError):
                    path.parent.rmdir()
        return [str(path)] if path.exists() else []


def all_pages(search: Any, experiments: Sequence[str], query: str, **more: Any) -> Iterator[Any]:
    """Yields the results of a search in some experiments, page after page; none without experiments."""
    token, is_more = None, bool(experiments)
    while is_more:
        page = search(list(experiments), query, page_token=token, **more)
        yield from list(page)
        token = page.token
        is_more = bool(token)


def short(attempt: str) -> str:
    """Returns the beginning of an attempt's digest that its tags hold: enough to find it, and readable."""
    return attempt[:12]


def own_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Returns this project's own tags without their prefix, in the order of their names, and what `_IDENTITY` holds."""
    own = {k.removeprefix(TAG): v for k, v in sorted(tags.items()) if k.startswith(TAG)}
    try:
        identity = dict(json.loads(own.pop(_IDENTITY, "{}")))
    except (ValueError, TypeError):
        identity = {}  # edited by hand: a proof that needs it says what is missing
    return {**own, **{name: str(value) for name, value in identity.items()}}
