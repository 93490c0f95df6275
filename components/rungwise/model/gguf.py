"""A GGUF file as a base: its weights are converted once to bf16 safetensors, in the cache of bases.

The same file gives the same bytes on every machine. Which architectures can be read is decided by transformers
(https://huggingface.co/docs/transformers/gguf). The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import contextlib
import io
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from rungwise.core.errors import ModelError, Problem
from rungwise.core.folders import file_digest, joined, read_json, write_json
from rungwise.core.progress import say
from rungwise.core.records import digest
from rungwise.core.texts import number_of
from rungwise.model.base_cache import Source, store, stored, write_source

_PART = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf", re.I)
"""A file of a model that llama.cpp's `gguf-split` has split."""
_OF_THIS_MACHINE = {
    "config.json": {"transformers_version", "quantization_config", "_name_or_path", "_model_name_or_path"},
    "generation_config.json": {"transformers_version", "_from_model_config"},
    "tokenizer_config.json": {"is_local", "local_files_only", "name_or_path"},
}
"""File -> keys that describe this machine or the conversion, and not the model."""


def is_gguf(path: Path) -> bool:
    """Whether a base's name is that of a GGUF file."""
    return path.suffix.lower() == ".gguf"


def converted(file: Path) -> Path:
    """Returns the folder with a GGUF file's weights, config and tokenizer; makes it on first use.

    Raises:
        ModelError: the file or a part of it is missing, damaged, or of an architecture that transformers can't read
            from GGUF; or the cache can't be written.
    """
    parts = _parts(file)
    try:
        name = _sha256(parts)
    except OSError as error:
        raise _unreadable(file, error) from None
    return stored(name) or store(name, lambda folder: convert(parts, folder, file.name, name))


def _parts(file: Path) -> list[Path]:
    """Returns the files that hold the model: one, or all parts of a split one."""
    match = _PART.fullmatch(file.name)
    count = int(match[3]) if match else 1
    names = [f"{match[1]}-{i:05d}-of-{match[3]}.gguf" for i in range(1, count + 1)] if match else [file.name]
    missing = [name for name in names if not (file.parent / name).is_file()]
    if missing:
        raise ModelError(
            Problem(
                "a part of a split GGUF file is missing" if match else "a GGUF file does not exist",
                where=str(file),
                found=f"{count - len(missing)} of {count} parts" if match else "no such file",
                wanted=joined(missing),
                do="put all parts into one folder" if match else "correct the rung's `base`",
                setting="base",
            )
        )
    return [file.parent / name for name in names]


def _sha256(parts: Sequence[Path]) -> str:
    """Returns the SHA-256 of a file; of a split one, that of its parts' names and hashes."""
    digests = [_digest_of(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in parts]
    return digests[0] if len(digests) == 1 else digest(digests)


@lru_cache(maxsize=256)
def _digest_of(path: str, size: int, changed_ns: int) -> str:
    del size, changed_ns
    return file_digest(Path(path))


def convert(parts: Sequence[Path], folder: Path, name: str, sha256: str) -> None:
    """Writes the model in a GGUF file as config.json, model.safetensors, tokenizer and source.json into `folder`.

    Args:
        parts: the file, or all its parts in order.
        folder: an empty folder.
        name: what source.json calls the file.
        sha256: of the file.

    Raises:
        ModelError: the file is damaged, or transformers can't read it.
        OSError: the folder can't be written.
    """
    size = sum(part.stat().st_size for part in parts)
    say(f"{name} ({size / 1e6:,.0f} MB): its weights are converted to bf16, once")
    with _as_model_errors(parts[0]), tempfile.TemporaryDirectory(dir=folder) as temporary:
        source = _inspect(parts, name, sha256)
        # alone in its folder: files next to the user's would be read too
        alone = Path(temporary) / "model.gguf"
        if len(parts) == 1:
            alone.symlink_to(parts[0].resolve())
        else:
            _join(parts, alone)
        model, tokenizer = _load(alone)
    _write(folder, model, tokenizer)
    write_source(folder, source)


@contextlib.contextmanager
def _as_model_errors(file: Path) -> Iterator[None]:
    """Turns every error of the libraries that read the file into a ModelError."""
    try:
        yield
    except ModelError:
        raise
    except OSError as error:
        if error.errno:  # of the system, not transformers' own
            raise
        raise _unreadable(file, error) from None
    except Exception as error:  # gguf, numpy and transformers raise a dozen kinds of errors
        raise _unreadable(file, error) from None


def _unreadable(file: Path, error: Exception) -> ModelError:
    return ModelError(
        Problem(
            "a GGUF file can't be read as a language model",
            where=f"ladder: base {file}",
            found=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
            wanted="a complete GGUF file of an architecture that transformers supports",
            do="compare its SHA-256 with the publisher's and fetch it again if they differ; otherwise choose another "
            "base, for example the same model's hub name",
            setting="base",
        )
    )


def _inspect(parts: Sequence[Path], name: str, sha256: str) -> Source:
    """Returns what the file holds.

    Raises:
        ModelError: it scales positions in a way that transformers does not read from GGUF, or lacks tensors.
        Exception: it is damaged.
    """
    from gguf import GGUFReader

    values: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    names: set[str] = set()
    readers = [GGUFReader(part) for part in parts]
    for tensor in (tensor for reader in readers for tensor in reader.tensors):
        names.add(tensor.name)
        counts[tensor.tensor_type.name] += 1
        values[tensor.tensor_type.name] += int(tensor.n_elements)
    first = readers[0]
    architecture = str(first.fields["general.architecture"].contents())
    n_split = first.fields.get("split.tensors.count")
    if n_split is not None and int(n_split.contents()) != len(names):
        raise ValueError(f"{number_of(len(names), 'tensor')}, where the first part names {n_split.contents()}")
    scaling = first.fields.get(f"{architecture}.rope.scaling.type")
    kind = str(scaling.contents()) if scaling is not None else "none"
    if kind != "none" or "rope_freqs.weight" in names:
        raise ModelError(
            Problem(
                "a GGUF file scales its positions, which transformers does not read from GGUF",
                where=f"ladder: base {parts[0]}",
                found=f"rope scaling {kind}" if kind != "none" else "the tensor rope_freqs.weight",
                wanted="a model without scaled positions; this one would answer differently from its original",
                do="use the same model's hub name",
                setting="base",
            )
        )
    return Source(name, sha256, architecture, {kind: counts[kind] for kind, _ in values.most_common()})


def _join(parts: Sequence[Path], target: Path) -> None:
    """Writes the parts of a split file as one file."""
    from gguf import GGUFReader, GGUFValueType, GGUFWriter

    readers = [GGUFReader(part) for part in parts]
    first = readers[0].fields
    writer = GGUFWriter(target, str(first["general.architecture"].contents()))
    for key, value in first.items():
        if not key.startswith(("GGUF.", "split.")) and key != "general.architecture":
            is_array = value.types[0] == GGUFValueType.ARRAY
            writer.add_key_value(key, value.contents(), value.types[0], sub_type=value.types[-1] if is_array else None)
    for tensor in (tensor for reader in readers for tensor in reader.tensors):
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _load(file: Path) -> tuple[Any, Any]:
    """Returns the model in bf16 and the tokenizer.

    Raises:
        Exception: transformers can't read them, or the file lacks weights of the model.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    # its progress bar can't be turned off
    with contextlib.nullcontext() if sys.stderr.isatty() else contextlib.redirect_stderr(io.StringIO()):
        model, loaded = AutoModelForCausalLM.from_pretrained(
            file.parent,
            gguf_file=file.name,
            dtype=torch.bfloat16,
            quantization_config=GgufConfig(gguf_file=file.name, dequantize=True),
            output_loading_info=True,
            local_files_only=True,
            trust_remote_code=False,
        )
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name, trust_remote_code=False)
    tied = set(getattr(model, "_tied_weights_keys", None) or ()) if model.config.tie_word_embeddings else set()
    if lost := sorted({*loaded["missing_keys"], *loaded["mismatched_keys"]} - tied):
        raise ValueError(f"it lacks weights of {type(model).__name__}: {joined(map(str, lost), 4)}")
    return model, tokenizer


def _write(folder: Path, model: Any, tokenizer: Any) -> None:
    """Writes a model's files with nothing in them that differs from machine to machine."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    tokenizer.save_pretrained(folder)
    config = {**model.config.to_diff_dict(), "architectures": [type(model).__name__], "dtype": "bfloat16"}
    for name, values in (("config.json", config), ("generation_config.json", model.generation_config.to_diff_dict())):
        write_json(folder / name, values)
    for name, keys in _OF_THIS_MACHINE.items():
        write_json(folder / name, {k: v for k, v in read_json(folder / name).items() if k not in keys})
    weights, seen = {}, set()
    for name, tensor in model.state_dict().items():
        if tensor.data_ptr() not in seen:  # tied weights are stored once
            weights[name] = tensor.to(torch.bfloat16).contiguous()
        seen.add(tensor.data_ptr())
    try:
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    except SafetensorError as error:
        raise OSError(str(error)) from None
    (folder / "model.safetensors").chmod((folder / "config.json").stat().st_mode)
