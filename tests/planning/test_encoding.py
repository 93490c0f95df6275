import shutil

import pytest
from transformers import BertConfig, BertModel, DistilBertConfig, DistilBertModel

from rungwise.config import load as load_settings
from rungwise.core.recipes import STAGES
from rungwise.pipeline.stages import run_stage
from rungwise.planning.check import check_ladder
from rungwise.planning.fit import fit
from rungwise.planning.job import Job
from rungwise.planning.machines import THIS, Machine, machines
from rungwise.planning.memory import peak_need
from rungwise.planning.model_config import encoder_shape_of
from rungwise.planning.plan import plan_ladder
from rungwise.report.plan import plan_text
from tests.conftest import write_workspace
from tests.model.tiny_encoder import make_encoder

CPU = Machine(THIS, "2 cores", None, 8 * 10**9, 1e11, 5e10, 1e10, None, None, device="cpu")
SIZES = {
    "vocab_size": 300,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}
LADDER = "  - {name: embed, base: bases/tiny, method: embed}"


@pytest.fixture
def root(tmp_path, base_folder):
    root = write_workspace(tmp_path / "ws", base_folder, ladder=LADDER)
    make_encoder(root / "bases" / "tiny")
    return root


@pytest.mark.parametrize(
    "make",
    [
        lambda: BertModel(BertConfig(**SIZES, max_position_embeddings=64), add_pooling_layer=False),
        lambda: DistilBertModel(
            DistilBertConfig(vocab_size=300, max_position_embeddings=64, n_layers=2, n_heads=4, dim=32, hidden_dim=48)
        ),
    ],
)
def test_the_shape_of_an_encoder_has_its_parameters(make):
    model = make()
    shape = encoder_shape_of(model.config.to_dict())
    assert shape.parameters == sum(p.numel() for p in model.parameters()) and shape.context == 64


def test_a_causal_base_has_its_own_shape(base_folder):
    from rungwise.planning.model_config import read_config, shape_of

    config = read_config(base_folder / "config.json")
    assert encoder_shape_of(config) == shape_of(config)


def test_an_encoder_rung_is_planned_before_and_after_its_rows_are_prepared(root):
    settings = load_settings(root / "params.yaml")
    [before] = plan_ladder(root, settings, [CPU], machines())
    assert before.fits and before.seconds is None and before.lengths.reason
    for verb in STAGES[:4]:
        run_stage(root, verb)
    [after] = plan_ladder(root, settings, [CPU], machines())
    assert after.fits and after.trainable == 0 and after.largest_rows is None
    assert 6 < after.lengths.mean_tokens < 14 and after.lengths.tokens <= 64
    matrices = 2 * 48 * (4 * 48 + 2 * 96)
    operations = after.lengths.rows * round(after.lengths.mean_tokens) * 2 * matrices
    assert after.seconds == pytest.approx(operations / (CPU.rate("fp32") * 0.3), rel=0.2)
    text = plan_text([after], [])
    assert "embed" in text and "per answer" not in text
    assert check_ladder(root, settings, CPU, machines()) == []


def test_its_memory_is_that_of_its_largest_batch(root):
    shape = encoder_shape_of(BertConfig(**SIZES, max_position_embeddings=512).to_dict())
    short, long = (peak_need(shape, Job("embed", rows=64, tokens=t, answer_tokens=1)) for t in (8, 512))
    assert short.weights == shape.parameters * 4 and short.activations == 64 * 8 * 4 * (4 * 32 + 2 * 48)
    assert long.activations == 4096 * 4 * (4 * 32 + 2 * 48)
    small = Machine("small", "", None, 10**5, 1e11, None, None, None, None, device="cpu")
    assert fit("r", "b", shape, Job("embed", rows=64, tokens=8, answer_tokens=1), small, rows=1, steps=1).fits is False


def test_an_encoder_that_the_planner_does_not_know_is_a_warning(root):
    import json

    config = json.loads((root / "bases/tiny/config.json").read_text())
    (root / "bases/tiny/config.json").write_text(json.dumps(config | {"model_type": "unheard-of"}))
    [warning] = check_ladder(root, load_settings(root / "params.yaml"), CPU, machines())
    assert "not checked in advance" in warning
    shutil.rmtree(root / "bases")
