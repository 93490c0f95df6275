"""The registered versions: an attempt that passed is stored in MLflow, proved to reload exactly, and the challenger."""

import contextlib
import io
import shutil
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from rungwise.attempts.store import SPEC, answering_versions
from rungwise.core.decisions import Climb
from rungwise.core.errors import RegistryError
from rungwise.core.folders import read_json, tree_digests, write_json
from rungwise.core.gate_reasons import ChallengerScore
from rungwise.core.records import Base, Evidence, digest, spec_from_json
from rungwise.evidence.evaluate import interval_text
from rungwise.model.bases import quantization
from rungwise.release import parity
from rungwise.release.connection import TAG, VERDICT, Connection, short
from rungwise.release.facts import verdict_text, version_note
from rungwise.release.gate import Verdict
from rungwise.release.leftovers import scratch
from rungwise.release.registry import CHALLENGER, IDENTITY, Registry, Version


def add_version(
    root: Path,
    climb: Climb,
    attempt: Path,
    run_id: str,
    data_version: str,
    split_version: str,
    prove: Callable[[Path], None],
    *,
    slots: Sequence[str],
) -> Version:
    """Registers the climb's attempt as challenger, after a proof that it reloads exactly; returns its version.

    A version of the same attempt on the same data is not registered again; one that a killed process did not prove is
    proved, or removed.

    Args:
        root: the workspace.
        climb: a task's climb, in which an attempt passed.
        attempt: the folder with its files.
        run_id: its run.
        data_version: the rows of the climb.
        split_version: the rules that split them.
        prove: proves the model in a folder; see `parity.Prover`.
        slots: the names of the prompt's slots, which are the model's inputs.

    Raises:
        RegistryError: MLflow refuses, or the stored model does not reload with equal logits.
    """
    registry = Registry(root)
    evidence = next(e for e in climb.evidence if e.rung == climb.decision.rung)
    own = [v for v in registry.versions(climb.task) if v.is_of(evidence.attempt)]
    same = [v for v in own if v.tags.get("data_version") == data_version]
    for version in same:
        if _is_proved(registry, version) or _is_now_proved(root, version, prove):
            break
    else:
        tags = {"data_version": data_version, "split_version": split_version}
        version = _stored(root, climb, evidence, attempt, run_id, tags, slots)
        _prove(root, version, prove)
    _describe(root, climb, evidence, version)
    registry.set_alias(version, CHALLENGER)
    return version


def _describe(root: Path, climb: Climb, evidence: Evidence, version: Version) -> None:
    """Writes what the model and the version are into their descriptions, once."""
    with Connection(root).client() as (_, client):
        if not client.get_model_version(version.model, str(version.number)).description:
            note = version_note(climb, evidence, version.tags.get("data_version", ""))
            client.update_model_version(version.model, str(version.number), note)
        if not client.get_registered_model(version.model).description:
            about = (
                f"Answers *{version.task}*. The version with the alias `champion` is served; the gate sets it after it "
                "scored the version on the test rows. While no version has it, none is served. The tag `verdict` of a "
                "version says what the gate decided."
            )
            client.update_registered_model(version.model, about)


def _is_proved(registry: Registry, version: Version) -> bool:
    return version.tags.get("reload") == "exact" and _is_whole(registry, version)


def _is_now_proved(root: Path, version: Version, prove: Callable[[Path], None]) -> bool:
    """Whether a version that a killed process did not prove reloads exactly; one that does not is removed."""
    if version.tags.get("reload") == "exact":
        return False  # it was proved, but its files are lost; it may be the champion
    try:
        _prove(root, version, prove)
    except RegistryError:
        Registry(root).delete(version.task, version.number)
        return False
    return True


def _prove(root: Path, version: Version, prove: Callable[[Path], None]) -> None:
    """Proves that a version reloads exactly, and says so on it.

    Raises:
        RegistryError: it does not, or its files are lost.
    """
    with Registry(root).attempt_folder(version) as folder:
        prove(folder)
    set_tags(root, version, {"reload": "exact"})


def _is_whole(registry: Registry, version: Version) -> bool:
    """Whether the version's files exist and are those that were registered."""
    try:
        with registry.attempt_folder(version):
            return True
    except RegistryError:
        return False


def _stored(
    root: Path,
    climb: Climb,
    evidence: Evidence,
    attempt: Path,
    run_id: str,
    versions: Mapping[str, str],
    slots: Sequence[str],
) -> Version:
    """Stores the attempt as a model and registers it; returns its version, which is not proved yet."""
    with scratch(root) as temporary, Connection(root).client() as (mlflow, client):
        folder = temporary / "attempt"
        shutil.copytree(attempt, folder)
        parity.record(folder, root)
        spec = spec_from_json(read_json(folder / SPEC))
        tags = {**_tags(root, climb, evidence, spec.base), **versions}
        write_json(temporary / IDENTITY, _hashes(evidence, spec.base, folder) | {"run_id": run_id})
        registry = Registry(root)
        model, run = registry.model(climb.task), client.get_run(run_id)
        with mlflow.start_run(run_id=run_id), contextlib.redirect_stderr(io.StringIO()):
            logged = mlflow.pyfunc.log_model(
                name="attempt",
                python_model=str(files("rungwise.serving") / "pyfunc.py"),
                artifacts={"attempt": str(folder), "identity": str(temporary / IDENTITY)},
                signature=_signature(mlflow, slots),
                input_example=[{name: f"text of {name}" for name in slots}],
                pip_requirements=_requirements(answering_versions(spec)),
                tags={TAG + "task": climb.task, TAG + "attempt": tags["attempt"]},
            )
            registered = mlflow.register_model(
                f"models:/{logged.model_id}", model, tags={TAG + k: v for k, v in tags.items() if v}
            )
        # `start_run` opened the run again, and ended it now
        client.set_terminated(run_id, "FINISHED", run.info.end_time)
        return registry.version_of(climb.task, client.get_model_version(model, registered.version))


def _signature(mlflow: Any, slots: Sequence[str]) -> Any:
    """Returns what the model takes and gives: a text for each slot, an answer and its probability."""
    from mlflow.types import ColSpec, Schema

    inputs = Schema([ColSpec("string", name) for name in slots])
    outputs = Schema([ColSpec("string", "answer", required=False), ColSpec("double", "probability")])
    return mlflow.models.ModelSignature(inputs=inputs, outputs=outputs)


def note_verdict(root: Path, climb: Climb, version: Version, verdict: Verdict) -> None:
    """Writes the verdict, the score on the test rows and the bar on a version, once; also into its description."""
    tags = {VERDICT: verdict_text(verdict)}
    for reason in verdict.reasons:
        if isinstance(reason, ChallengerScore):
            tags |= {f"{TAG}test_score": interval_text(reason.score), f"{TAG}bar": f"{reason.target:g}"}
    if all(version.tags.get(name.removeprefix(TAG)) == value for name, value in tags.items()):
        return
    evidence = next((e for e in climb.evidence if version.is_of(e.attempt)), None)
    with Connection(root).client() as (_, client):
        number = str(version.number)
        if evidence:
            note = version_note(climb, evidence, version.tags.get("data_version", ""), verdict)
            client.update_model_version(version.model, number, note)
        for name, value in tags.items():
            client.set_model_version_tag(version.model, number, name, value)


def set_tags(root: Path, version: Version, tags: Mapping[str, str]) -> None:
    """Sets tags of a version; an empty one is removed."""
    with Connection(root).client() as (_, client):
        for name, value in tags.items():
            if value:
                client.set_model_version_tag(version.model, str(version.number), TAG + name, value)
            elif name in version.tags:
                client.delete_model_version_tag(version.model, str(version.number), TAG + name)


def _tags(root: Path, climb: Climb, evidence: Evidence, base: Base | None) -> dict[str, str]:
    revision = f"@{short(base.revision)}" if base and base.revision else ""
    return {
        "rung": evidence.rung,
        "method": evidence.method,
        "attempt": short(evidence.attempt),
        "base": f"{base.name}{revision}" if base else "",
        "base_quantization": quantization(base, root) if base else "",
        "base_parameters": str(evidence.base_parameters),
        "dev_score": interval_text(evidence.score) if evidence.score else "",
    }


def _hashes(evidence: Evidence, base: Base | None, attempt: Path) -> dict[str, str]:
    """Returns what identifies a version, for programs."""
    return {
        "attempt": evidence.attempt,
        "artifact_sha256": digest(tree_digests(attempt)),
        "base_revision": base.revision if base else "",
        "base_sha256": evidence.base_digest,
    }


def _requirements(libraries: Mapping[str, str]) -> list[str]:
    """Returns what an environment requires to load the model with MLflow: rungwise and its numeric libraries."""
    from importlib.metadata import version

    return [f"rungwise=={version('rungwise')}", *(f"{name}=={number}" for name, number in libraries.items())]
