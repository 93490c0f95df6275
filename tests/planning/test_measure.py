import pytest
import torch

from rungwise.config import load as load_settings
from rungwise.config import set_precision
from rungwise.core.errors import SettingsError
from rungwise.core.records import AnswerForm, AttemptSpec, Base
from rungwise.model import language_model as models
from rungwise.planning.machines import THIS
from rungwise.planning.measure import memory_bytes, probe, status_bytes, this_machine
from rungwise.planning.precision import choose_precision
from rungwise.training.batches import TokenRow

SPEC = AttemptSpec(Base("x"), "lora", prompt="", form=AnswerForm("text"), rank=4, batch_size=4)
ROWS = [TokenRow(tuple(range(5, 5 + n)), (7, 0)) for n in (3, 30, 20, 10, 40, 8)]


@pytest.fixture
def lm(base_folder):
    return models.load(Base(str(base_folder)), base_folder)


def test_this_machine_is_measured():
    result = this_machine()
    assert result.name == THIS and result.device == ("cuda" if torch.cuda.is_available() else "cpu")
    assert 2**28 < result.memory_bytes <= memory_bytes()
    assert min(result.fp32_rate, result.half_rate, result.bandwidth) > 1e8
    assert "measured" in result.sources["fp32_tflops"]


def test_memory_is_what_the_control_group_allows(tmp_path):
    (tmp_path / "max").write_text("1000000\n")
    assert memory_bytes(tmp_path / "max") == 1_000_000
    (tmp_path / "max").write_text("max\n")
    assert memory_bytes(tmp_path / "max") == memory_bytes(tmp_path / "none") > 2**28


def test_the_status_of_the_process_is_read_if_there_is_one(tmp_path):
    (tmp_path / "status").write_text("Name:\tx\nVmRSS:\t  12 kB\n")
    assert status_bytes("VmRSS", tmp_path / "status") == 12 * 1024
    assert status_bytes("VmHWM", tmp_path / "status") is None and status_bytes("VmRSS", tmp_path / "none") is None


def test_a_probe_runs_real_steps_on_the_longest_rows(lm):
    result = probe(lm, SPEC, ROWS, steps=3)
    assert result.steps == 3 and result.tokens == 4 * 42  # the longest row with its answer, four rows
    assert 0 < result.seconds_per_token < 1 and 0 < result.loss < 20
    weights = sum(p.numel() * 4 for p in lm.model.parameters())
    assert result.peak_bytes is None or result.peak_bytes >= 0.5 * weights


def test_the_peak_is_none_if_the_system_does_not_report_it(lm, monkeypatch, tmp_path):
    from rungwise.planning import measure

    monkeypatch.setattr(measure, "_RESET", tmp_path / "no" / "such")
    assert probe(lm, SPEC, ROWS, steps=1).peak_bytes is None


BLOCK = """\
train:           # how
  steps: 20      # few
  batch_size: 4
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("train: {steps: 20, batch_size: 16, learning_rate: 1e-2}", "train: {precision: bf16, steps: 20, batch_size: 16, learning_rate: 1e-2}"),
        ("train: {steps: 20, batch_size: 16, learning_rate: 1e-2}", "train: {steps: 20, precision: bf16}   # why"),
        ("train: {steps: 20, batch_size: 16, learning_rate: 1e-2}\n", BLOCK.replace("  steps", "  precision: bf16\n  steps")),
        ("train: {steps: 20, batch_size: 16, learning_rate: 1e-2}\n", BLOCK + '  precision: "bf16"   # as before\n'),
        ("train: {steps: 20, batch_size: 16, learning_rate: 1e-2}", "train: {precision: bf16}"),
    ],
)  # fmt: skip
def test_the_precision_is_written_and_the_rest_of_the_file_stays(workspace, old, new):
    path = workspace / "params.yaml"
    wanted = path.read_text().replace(old, new)
    start = (
        wanted.replace("precision: bf16, ", "").replace("  precision: bf16\n", "").replace("{precision: bf16}", "{}")
    )
    start = start.replace("precision: bf16", "precision: fp32").replace('"bf16"', '"fp32"')
    assert start != wanted
    path.write_text(start)
    assert set_precision(path, "bf16") is True
    assert path.read_text() == wanted and load_settings(path).train.precision == "bf16"
    assert set_precision(path, "bf16") is False and path.read_text() == wanted


def test_a_precision_that_is_only_the_default_is_written_out(workspace):
    path = workspace / "params.yaml"
    assert set_precision(path, "fp32") is True and "precision: fp32" in path.read_text()


def test_a_form_that_cant_be_edited_is_left_alone(workspace):
    path = workspace / "params.yaml"
    text = (
        path.read_text()
        .replace("steps: 20,", "steps: 20, precision: 'fp\\\n  32',")
        .replace("'fp", '"fp')
        .replace("32'", '32"')
    )
    path.write_text(text)
    with pytest.raises(SettingsError, match="can't be written(.|\n)*by hand"):
        set_precision(path, "bf16")
    assert path.read_text() == text


def test_both_precisions_are_measured_and_the_faster_one_is_written(workspace):
    path = workspace / "params.yaml"
    settings = load_settings(path)
    result = choose_precision(workspace, path, settings, tokens=24, steps=2)
    assert result.rung == "rank-2" and result.base == "bases/able" and result.written
    assert set(result.probes) == {"fp32", "bf16"} and result.probes["bf16"].tokens == 16 * 24
    fastest = min(result.probes, key=lambda p: result.probes[p].seconds_per_token)
    assert result.faster == fastest == load_settings(path).train.precision
    assert "tokens a second in fp32 and" in result.sentence and f"`precision: {fastest}` was written" in result.sentence


def test_a_ladder_that_trains_nothing_has_nothing_to_measure(workspace):
    path = workspace / "params.yaml"
    path.write_text(
        path.read_text().replace("  - {name: rank-2, base: bases/able, method: lora, rank: 2, alpha: 4}\n", "")
    )
    with pytest.raises(SettingsError, match="no rung trains"):
        choose_precision(workspace, path, load_settings(path), tokens=24)
