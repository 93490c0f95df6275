"""A tiny BERT with random weights and a WordPiece vocabulary of its own, which separates the planted rows."""

import json
from pathlib import Path

from rungwise.core.records import AnswerForm, AttemptSpec, Base, Example
from tests.conftest import FILLER, KEYWORDS

LABELS = AnswerForm("label", ("account", "billing", "delivery", "repair"))


def quiet(done: int, total: int, what: str) -> None:
    del done, total, what


def make_tokenizer(length: int = 64):
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    words = [*special, *KEYWORDS, *FILLER, *letters, *(f"##{letter}" for letter in letters)]
    vocabulary = {word: i for i, word in enumerate(dict.fromkeys(words))}
    pieces = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    pieces.normalizer = normalizers.BertNormalizer()
    pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])]
    pieces.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    return PreTrainedTokenizerFast(
        tokenizer_object=pieces,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=length,
    )


def make_encoder(folder: Path, *, seed: int = 0, length: int = 64) -> Path:
    import torch
    from transformers import BertConfig, BertModel

    tokenizer = make_tokenizer(length)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=96,
            max_position_embeddings=length,
            initializer_range=0.05,
        )
        BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def with_modules(folder: Path, pooling: dict[str, object], *, normalize: bool = True, longest: int = 0) -> Path:
    """Adds the files of sentence-transformers."""
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    kinds = ["Transformer", "Pooling", *(["Normalize"] if normalize else [])]
    modules = [{"idx": i, "type": f"sentence_transformers.models.{kind}"} for i, kind in enumerate(kinds)]
    (folder / "modules.json").write_text(json.dumps(modules))
    if longest:
        (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": longest}))
    return folder


def spec(form: AnswerForm = LABELS, prompt: str = "{body}\nQueue:", **more: object) -> AttemptSpec:
    return AttemptSpec(Base("bases/tiny"), "embed", prompt, form, steps=0, batch_size=0, **more)  # type: ignore[arg-type]


def rows_with(answers: list[tuple[str, str]]) -> list[Example]:
    return [Example(f"r{i}", {"body": text}, answer, "s", i, f"g{i}") for i, (text, answer) in enumerate(answers)]
