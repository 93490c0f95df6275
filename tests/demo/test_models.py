"""The pocket models match their cards: three sizes, one tokenizer, safetensors, small together."""

import json
import re

import pytest

from tests.conftest import REPOSITORY, script

MODELS = sorted((REPOSITORY / "infra/demo/models").iterdir())


@pytest.fixture(scope="module")
def pretrain():
    return script("pretrain")


def fact(folder, name):
    return float(re.search(rf"\| {name} \| ([\d.,]+) \|", (folder / "README.md").read_text()).group(1).replace(",", ""))


def test_a_larger_model_has_a_lower_held_out_loss():
    by_size = sorted(MODELS, key=lambda folder: fact(folder, "parameters"))
    assert [folder.name for folder in by_size] == ["pocket-s", "pocket-m", "pocket-l"]
    losses = [fact(folder, "held-out loss") for folder in by_size]
    assert losses == sorted(losses, reverse=True) and len(set(losses)) == 3
    assert len({fact(folder, "held-out tokens") for folder in MODELS}) == 1  # the same documents


def test_they_are_small_contain_no_pickle_and_have_the_parameters_of_their_cards():
    from safetensors import safe_open

    assert sum(p.stat().st_size for folder in MODELS for p in folder.iterdir()) <= 12e6
    for folder in MODELS:
        assert {p.suffix for p in folder.iterdir()} == {".md", ".json", ".safetensors"}
        with safe_open(folder / "model.safetensors", "pt") as weights:
            slices = [weights.get_slice(name) for name in weights.keys()]
            sizes = [torch_size(s.get_shape()) for s in slices]
            assert {s.get_dtype() for s in slices} == {"BF16"}
        assert sum(sizes) == fact(folder, "parameters")


def torch_size(shape):
    size = 1
    for n in shape:
        size *= n
    return size


def test_one_byte_level_tokenizer_encodes_any_input(pretrain, tmp_path):
    from tokenizers import Tokenizer

    texts = {(folder / "tokenizer.json").read_bytes() for folder in MODELS}
    assert len(texts) == 1
    tokenizer = Tokenizer.from_file(str(MODELS[0] / "tokenizer.json"))
    assert tokenizer.get_vocab_size() == 2048
    for text in ("zwölf Zelte", "帐篷", "\x00\x7f\u2028", "🏕️ ok"):
        assert tokenizer.decode(tokenizer.encode(text).ids) == text
    pretrain.check_tokenizer(MODELS[0] / "tokenizer.json")
    other = json.loads(texts.pop())
    other["model"]["merges"].pop()
    (tmp_path / "tokenizer.json").write_text(json.dumps(other))
    with pytest.raises(SystemExit, match=r"(?s)differs from the tokenizer of pocket-l.*--as-card"):
        pretrain.check_tokenizer(tmp_path / "tokenizer.json")
