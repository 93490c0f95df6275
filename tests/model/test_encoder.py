import json
import shutil

import pytest
import torch

from rungwise.core.errors import ModelError
from rungwise.core.records import Base
from rungwise.model.bases import base_digest
from rungwise.model.encoder import load_encoder
from rungwise.model.vectors import batches_of, stored_vectors, vectors_of
from tests.conftest import make_base
from tests.model.tiny_encoder import make_encoder, with_modules

TEXTS = ["my parcel please", "when is the refund", "a broken box", "login", "old new blue green order today"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_encoder(tmp_path_factory.mktemp("encoders") / "tiny")


@pytest.fixture
def copied(tiny, tmp_path):
    shutil.copytree(tiny, tmp_path / "own")
    return tmp_path / "own"


def loaded(folder, **more):
    return load_encoder(Base(str(folder)), folder.parent, **more)


def states_of(folder, text):
    """The last hidden states of one text alone, by transformers."""
    from transformers import AutoTokenizer, BertModel

    ids = torch.tensor([AutoTokenizer.from_pretrained(folder)(text).input_ids])
    with torch.inference_mode():
        return BertModel.from_pretrained(folder).eval()(input_ids=ids).last_hidden_state[0]


def test_a_vector_is_the_mean_of_the_texts_own_last_states(tiny):
    vectors = vectors_of(loaded(tiny), TEXTS)
    for row, text in zip(vectors.rows_ND, TEXTS, strict=True):
        assert torch.allclose(torch.tensor(row), states_of(tiny, text).mean(0), atol=1e-5)
    assert vectors.cut == 0 and vectors.tokens == sum(len(states_of(tiny, text)) for text in TEXTS)


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, lambda states: states[0]),
        ({"pooling_mode_max_tokens": True}, lambda states: states.amax(0)),
        ({"pooling_mode_lasttoken": True}, lambda states: states[-1]),
        ({"pooling_mode": "mean"}, lambda states: states.mean(0)),
    ],
)
def test_pooling_and_normalisation_are_those_of_the_bases_own_files(copied, pooling, expected):
    encoder = loaded(with_modules(copied, pooling))
    for row, text in zip(vectors_of(encoder, TEXTS).rows_ND, TEXTS, strict=True):
        vector = expected(states_of(copied, text))
        assert torch.allclose(torch.tensor(row), vector / vector.norm(), atol=1e-5)


def test_an_unsupported_pooling_is_an_error_and_other_modules_are_a_note(copied):
    with_modules(copied, {"pooling_mode_mean_sqrt_len_tokens": True})
    with pytest.raises(ModelError, match="pooling") as error:
        loaded(copied)
    assert "mean_sqrt_len" in error.value.problem.found
    with_modules(copied, {"pooling_mode_mean_tokens": True})
    modules = json.loads((copied / "modules.json").read_text())
    (copied / "modules.json").write_text(json.dumps([*modules, {"type": "sentence_transformers.models.Dense"}]))
    assert "these modules are not applied: Dense" in loaded(copied).notes[0]


def test_longer_texts_are_cut_and_counted(copied):
    long = "box " * 30
    vectors = vectors_of(loaded(with_modules(copied, {}, normalize=False, longest=12)), ["box", long])
    assert (vectors.cut, vectors.tokens) == (1, 3 + 12)
    shorter = vectors_of(loaded(copied), ["box " * 10])
    assert shorter.cut == 0 and torch.allclose(torch.tensor(vectors.rows_ND[1]), torch.tensor(shorter.rows_ND[0]))


def test_special_tokens_in_a_text_stay_text(tiny):
    encoder = loaded(tiny)
    ids, _ = encoder.encode(["my [SEP] box"])
    assert ids[0].count(encoder.tokenizer.sep_token_id) == 1 and ids[0][-1] == encoder.tokenizer.sep_token_id


def test_a_causal_model_gives_the_mean_of_its_states_and_a_note(tmp_path):
    encoder = loaded(make_base(tmp_path / "causal"))
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(tmp_path / "causal")
    ids = torch.tensor([AutoTokenizer.from_pretrained(tmp_path / "causal")(TEXTS[4]).input_ids])
    with torch.inference_mode():
        states = model(input_ids=ids, output_hidden_states=True).hidden_states[-1][0]
    vectors = vectors_of(encoder, [*TEXTS, ""])  # an empty text has a vector too
    assert torch.allclose(torch.tensor(vectors.rows_ND[4]), states.mean(0), atol=1e-4)
    assert encoder.is_causal and "is a causal language model" in encoder.notes[0]
    assert "mean of its last hidden states" in encoder.notes[0]


def test_an_encoder_is_not_taken_for_a_causal_model(tiny):
    encoder = loaded(tiny)
    assert not encoder.is_causal and not encoder.notes
    pooler = 48 * 48 + 48
    assert encoder.parameters == sum(p.numel() for p in encoder.model.parameters()) - pooler


def test_bf16_vectors_are_close_to_fp32_vectors(tiny):
    exact, half = (vectors_of(loaded(tiny, precision=p), TEXTS).rows_ND for p in ("fp32", "bf16"))
    assert abs(exact - half).max() < 0.1 * abs(exact).max() and not (exact == half).all()


def test_the_digest_covers_the_pooling_and_a_causal_base_keeps_its_own(copied, tmp_path):
    before = base_digest(copied)
    with_modules(copied, {"pooling_mode_cls_token": True})
    one = base_digest(copied)
    with_modules(copied, {"pooling_mode_mean_tokens": True})
    assert len({before, one, base_digest(copied)}) == 3


def test_a_base_without_a_tokenizer_is_refused(copied):
    (copied / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match="lacks a required file") as error:
        loaded(copied)
    assert "tokenizer.json" in error.value.problem.wanted


def test_a_broken_tokenizer_is_refused(copied):
    (copied / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="can't be used as a frozen encoder"):
        loaded(copied)


def test_an_encoder_decoder_is_refused(tmp_path):
    from transformers import T5Config, T5Model

    from tests.model.tiny_encoder import make_tokenizer

    tokenizer = make_tokenizer()
    T5Model(
        T5Config(vocab_size=len(tokenizer), d_model=16, d_kv=4, d_ff=16, num_layers=1, num_heads=2)
    ).save_pretrained(tmp_path / "t5")
    tokenizer.save_pretrained(tmp_path / "t5")
    with pytest.raises(ModelError, match="can't be used as a frozen encoder") as error:
        loaded(tmp_path / "t5")
    assert "encoder-decoder" in error.value.problem.found


def test_missing_weights_are_refused_and_not_made_up(copied):
    from safetensors.torch import load_file, save_file

    weights = load_file(copied / "model.safetensors")
    del weights["encoder.layer.1.attention.self.query.weight"]
    save_file(weights, copied / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match="frozen encoder") as error:
        loaded(copied)
    assert "layer.1.attention.self.query.weight" in error.value.problem.found


def test_a_vector_that_is_not_finite_is_an_error(copied):
    from safetensors.torch import load_file, save_file

    weights = load_file(copied / "model.safetensors")
    weights["encoder.layer.1.output.LayerNorm.bias"][0] = float("nan")
    save_file(weights, copied / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match="not finite"):
        vectors_of(loaded(copied), TEXTS)


def test_code_of_a_base_is_never_run(copied):
    config = json.loads((copied / "config.json").read_text())
    config |= {"model_type": "unheard-of", "auto_map": {"AutoConfig": "own.Own", "AutoModel": "own.Own"}}
    (copied / "config.json").write_text(json.dumps(config))
    (copied / "own.py").write_text("raise SystemExit('code was run')")
    with pytest.raises(ModelError, match="frozen encoder"):
        loaded(copied)


def test_vectors_come_from_the_store_and_do_not_depend_on_it(tiny, tmp_path, monkeypatch):
    encoder, store = loaded(tiny), tmp_path / "store"
    texts = [f"{a} {b} {c}" for a in "abcdefg" for b in "0123456789" for c in ("box", "order")]
    alone = vectors_of(encoder, texts).rows_ND
    first = vectors_of(encoder, texts[:100], store).rows_ND
    assert (vectors_of(encoder, texts, store).rows_ND == alone).all()  # partly from the store
    assert len(stored_vectors(store)) == 2
    monkeypatch.setattr(type(encoder), "embed", None)
    assert (vectors_of(encoder, [*texts, texts[0]], store).rows_ND[:-1] == alone).all()
    assert (vectors_of(encoder, texts[:100], store).rows_ND == first).all()


def test_a_damaged_store_is_not_trusted(tiny, tmp_path):
    encoder = loaded(tiny)
    expected = vectors_of(encoder, TEXTS, tmp_path).rows_ND
    [folder] = stored_vectors(tmp_path)
    content = bytearray((folder / "vectors.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "vectors.safetensors").write_bytes(content)
    assert (vectors_of(encoder, TEXTS, tmp_path).rows_ND == expected).all()


def test_batches_are_bounded_and_a_new_text_changes_few_of_them():
    from rungwise.core.records import digest

    tokens = {digest(str(i)): 5 + i % 40 for i in range(3000)}
    batches = batches_of(tokens)
    assert sorted(name for batch in batches for name in batch) == sorted(tokens)
    for batch in batches:
        longest = max(tokens[name] for name in batch)
        assert len(batch) <= 64 and (len(batch) == 1 or len(batch) * longest <= 4096)
    more = batches_of(tokens | {digest("new"): 20})
    shared = {tuple(batch) for batch in batches} & {tuple(batch) for batch in more}
    assert len(shared) > 0.9 * len(batches)
