"""The registered versions: an attempt that passed is stored in MLflow, proved to reload exactly, and the challenger."""

import contextlib
import io
import shutil
import tempfile
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from rungwise.attempts.store import SPEC, answering_versions
from rungwise.core.decisions import Climb
from rungwise.core.errors import RegistryError
from rungwise.core.folders import read_json, tree_digests
from rungwise.core.records import Base, Evidence, digest, spec_from_json
from rungwise.model.bases import quantization
from rungwise.release import parity
from rungwise.release.connection import TAG, Connection
from rungwise.release.registry import CHALLENGER, Registry, Version, version_of


def add_version(root: Path, climb: Climb, attempt: Path, run_id: str, data_version: str, split_version: str) -> Version:
    """Registers the climb's attempt as challenger, after a proof that it reloads exactly; returns its version.

    A version of the same attempt on the same data is not registered again. `attempt`: the folder with its files.

    Raises:
        RegistryError: MLflow refuses, or the stored model does not reload with equal logits.
    """
    registry, connection = Registry(root), Connection(root)
    evidence = next(e for e in climb.evidence if e.rung == climb.decision.rung)
    for old in registry.versions(climb.task):
        is_same = (old.tags.get("attempt"), old.tags.get("data_version")) == (evidence.attempt, data_version)
        if is_same and old.tags.get("reload") == "exact" and _is_whole(registry, old):
            registry.set_alias(old, CHALLENGER)
            return old
    tags = {"data_version": data_version, "split_version": split_version}
    version = _stored(root, climb, evidence, attempt, run_id, tags)
    with registry.attempt_folder(version) as folder:
        parity.prove(folder, root)
    with connection.client() as (_, client):
        client.set_model_version_tag(climb.task, str(version.number), TAG + "reload", "exact")
    registry.set_alias(version, CHALLENGER)
    return version


def _is_whole(registry: Registry, version: Version) -> bool:
    """Whether the version's files exist and are those that were registered."""
    try:
        with registry.attempt_folder(version):
            return True
    except RegistryError:
        return False


def _stored(
    root: Path, climb: Climb, evidence: Evidence, attempt: Path, run_id: str, versions: Mapping[str, str]
) -> Version:
    """Stores the attempt as a model and registers it; returns its version, which is not proved yet."""
    with tempfile.TemporaryDirectory() as temporary, Connection(root).client() as (mlflow, client):
        folder = Path(temporary) / "attempt"
        shutil.copytree(attempt, folder)
        parity.record(folder, root)
        spec = spec_from_json(read_json(folder / SPEC))
        tags = {**_tags(root, climb, evidence, spec.base), **versions, "run_id": run_id}
        tags["artifact_sha256"] = digest(tree_digests(folder))
        with mlflow.start_run(run_id=run_id), contextlib.redirect_stderr(io.StringIO()):
            logged = mlflow.pyfunc.log_model(
                name="attempt",
                python_model=str(files("rungwise.serving") / "pyfunc.py"),
                artifacts={"attempt": str(folder)},
                pip_requirements=_requirements(answering_versions(spec)),
            )
            registered = mlflow.register_model(
                f"models:/{logged.model_id}", climb.task, tags={TAG + k: v for k, v in tags.items()}
            )
        return version_of(client.get_model_version(climb.task, registered.version))


def _tags(root: Path, climb: Climb, evidence: Evidence, base: Base | None) -> dict[str, str]:
    return {
        "task": climb.task,
        "rung": evidence.rung,
        "method": evidence.method,
        "attempt": evidence.attempt,
        "base": base.name if base else "",
        "base_revision": base.revision if base else "",
        "base_sha256": evidence.base_digest,
        "base_quantization": quantization(base, root) if base else "",
        "base_parameters": str(evidence.base_parameters),
        **_score_tags(evidence),
    }


def _requirements(libraries: Mapping[str, str]) -> list[str]:
    """Returns what an environment requires to load the model with MLflow: rungwise and its numeric libraries."""
    from importlib.metadata import version

    return [f"rungwise=={version('rungwise')}", *(f"{name}=={number}" for name, number in libraries.items())]


def _score_tags(evidence: Evidence) -> dict[str, str]:
    score = evidence.score
    if score is None:
        return {}
    numbers = {"dev_score": score.value, "dev_low": score.low, "dev_high": score.high, "dev_n": score.n}
    return {name: f"{number:g}" for name, number in numbers.items()}
