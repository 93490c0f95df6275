import json
import shutil
from dataclasses import replace

import pytest
import transformers

from rungwise.cli import main as cli
from rungwise.config import load as load_settings
from rungwise.core.errors import ModelError
from rungwise.core.methods import LANGUAGE_MODEL_METHODS
from rungwise.core.records import Base
from rungwise.model import limits
from rungwise.model.embedded import EMBEDDED
from rungwise.model.gguf import converted
from rungwise.planning import measure
from rungwise.planning.check import check_ladder
from rungwise.planning.fit import fit
from rungwise.planning.job import Job
from rungwise.planning.largest import largest_models
from rungwise.planning.machines import THIS, Machine, machines
from rungwise.planning.memory import need_of, peak_need
from rungwise.planning.model_config import config_of, read_config, shape_of
from rungwise.planning.plan import jobs_of_every_method, plan_config, plan_ladder
from rungwise.planning.remedies import remedies
from rungwise.planning.scoring_memory import scoring_need
from rungwise.report.plan import duration, plan_text, sentence
from tests.model.gguf_files import tiny_llama, write_gguf

CPU = Machine(THIS, "2 cores", None, 8 * 10**9, 1e11, 5e10, 1e10, None, None, device="cpu")
SEVEN_B = transformers.LlamaConfig().to_dict()


@pytest.fixture
def settings(workspace):
    return load_settings(workspace / "params.yaml")


def test_scoring_takes_fewer_rows_on_a_gpu_on_which_not_all_fit():
    shape = shape_of(SEVEN_B)
    job = Job("prompt", precision="bf16", rows=limits.SCORING_ROWS, tokens=512, labels=8)
    all_rows, one_row = (scoring_need(shape, replace(job, rows=n)).total for n in (limits.SCORING_ROWS, 1))
    limit = (all_rows + one_row) // 2
    assert one_row < peak_need(shape, job, limit).total <= limit < all_rows
    assert peak_need(shape, job, one_row - 1).total == one_row, "no fewer than one"
    assert peak_need(shape, job).total == all_rows
    assert peak_need(shape, replace(job, device="cpu"), 1) == scoring_need(shape, replace(job, device="cpu"))
    gpu = Machine("gpu", "a card", 1, limit, 1e14, None, None, None, None, device="cuda")
    assert fit("r", "b", shape, job, gpu, rows=1, steps=1).fits


def test_every_rung_with_a_language_model_is_planned_on_every_machine(workspace, settings):
    fits = plan_ladder(workspace, settings, [CPU, machines()["p3.2xlarge"]], machines())
    assert [(one.rung, one.machine) for one in fits] == [
        (rung, name) for rung in ("prompt", "rank-2") for name in (THIS, "p3.2xlarge")
    ]
    trained = fits[3]
    assert trained.fits and trained.rows == 16 and trained.tokens == 256  # cut to the base's context
    assert trained.trainable == 2 * 2 * sum((32 + 32, 32 + 16, 32 + 16, 32 + 32, 32 + 64, 32 + 64, 64 + 32))
    assert trained.cost_usd == pytest.approx(trained.seconds / 3600 * 3.06)
    assert fits[0].seconds is None and fits[2].cost_usd is None and fits[2].largest_rows >= 16


def test_time_is_operations_over_a_share_of_the_rate_and_parts_of_a_step_add_up():
    shape, job = shape_of(SEVEN_B), Job("lora", precision="bf16", rows=4)
    machine = machines()["a100-80gb"]
    whole = fit("x", "b", shape, job, machine, rows=4, steps=10)
    assert fit("x", "b", shape, job, machine, rows=8, steps=10).seconds == pytest.approx(2 * whole.seconds)
    tokens = 10 * 4 * 512
    assert whole.seconds == pytest.approx(4 * shape.parameters * tokens / (0.3 * 312e12), rel=0.1)
    unknown = fit("x", "b", shape, job, machines()["g5.xlarge"], rows=4, steps=10)
    assert unknown.seconds is None and unknown.fits is not None
    nothing = fit("x", "b", shape, job, replace(machine, memory_bytes=None), rows=4, steps=10)
    assert nothing.fits is None and nothing.largest_rows is None and nothing.remedies == ()


def test_every_method_of_one_config_on_every_machine(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(SEVEN_B))
    jobs = jobs_of_every_method(1, 512, 32)
    table = machines()
    fits = plan_config(tmp_path / "config.json", jobs, list(table.values()), table)
    assert len(fits) == len(jobs) * len(table)
    by = {(one.rung, one.machine): one for one in fits}
    assert by["lora", "p3.2xlarge"].fits is False and by["lora", "l40s"].fits and by["full", "h100-80gb"].fits is False


def test_a_rung_that_cant_fit_is_named_with_what_would_make_it_fit(workspace, settings):
    small = replace(CPU, memory_bytes=100_000)
    with pytest.raises(ModelError) as error:
        check_ladder(workspace, settings, small, machines())
    message = str(error.value)
    assert "a rung does not fit this machine" in message and "prompt" in message and "another machine: " in message
    assert not check_ladder(workspace, settings, CPU, machines())
    (warning, *_) = check_ladder(workspace, settings, replace(CPU, memory_bytes=5_000_000), machines())
    assert "rows of" in warning and "this machine has 0.0" in warning


def test_the_task_that_does_not_fit_is_found_even_if_another_needs_more_for_scoring(workspace, settings, monkeypatch):
    from rungwise.planning import check, plan
    from rungwise.planning.rows import Lengths

    shape = shape_of(SEVEN_B)
    monkeypatch.setattr(plan, "config_of", lambda base, root: SEVEN_B)
    settings = settings.model_copy(update={"ladder": settings.ladder[1:]})
    reads, trains = Lengths(512, 32, labels=64), Lengths(600, 4, labels=2)
    jobs = [plan.job_of(settings, settings.ladder[0], "cuda", one, shape) for one in (reads, trains)]
    needs = [peak_need(shape, job).total for job in jobs]
    limit = need_of(shape, replace(jobs[1], rows=1)).total - 1
    assert needs[0] > needs[1] > limit
    gpu = Machine("gpu", "a card", 1, limit, 1e14, None, None, None, None, device="cuda")
    monkeypatch.setattr(
        check, "lengths_by_rung", lambda *_: {settings.ladder[0].name: {"reads": reads, "trains": trains}}
    )
    with pytest.raises(ModelError, match="does not fit this machine"):
        check_ladder(workspace, settings, gpu, {})


def test_an_unsupported_architecture_is_named_and_does_not_stop_the_climb(workspace, settings):
    path = workspace / "bases" / "able" / "config.json"
    path.write_text(path.read_text().replace('"llama"', '"novel"'))
    warnings = check_ladder(workspace, settings, CPU, machines())
    assert warnings and all("its memory is not checked in advance" in text for text in warnings)


def test_remedies_are_checked_before_they_are_named():
    shape, table = shape_of(SEVEN_B), list(machines().values())
    job = Job("lora", precision="bf16", rows=12)
    limit = 48 * 10**9
    result = remedies(shape, job, limit, table)
    assert peak_need(shape, job).total > limit
    assert result[0].startswith("a smaller batch: ") and result[-1].startswith("another machine: p4de.24xlarge (80 GB")
    rows = int(result[0].split()[3])
    assert need_of(shape, replace(job, rows=rows)).total <= limit < need_of(shape, replace(job, rows=rows + 1)).total
    assert any("checkpointing" in text for text in result)
    full = remedies(shape, Job("full", precision="bf16", rows=1), limit, table)
    assert "another method: lora" in full and "4-bit weights with lora" in full
    assert "precision bf16" in remedies(shape, Job("lora", rows=1), 29 * 10**9, table)
    (tight,) = remedies(shape, Job("lora", precision="bf16", rows=32, labels=1), 14 * 10**9, [])
    small = Job("lora", precision="4bit", rows=int(tight.split()[-4]), labels=1, is_checkpointed=True)
    assert tight == f"4-bit weights, activation checkpointing and {small.rows} rows at once" and small.rows < 32
    assert need_of(shape, small).total <= 14 * 10**9 < need_of(shape, replace(small, rows=small.rows + 1)).total
    assert remedies(shape, Job("prompt", rows=1), 10**6, []) == (
        "a smaller base: no machine of the table is large enough for this one",
    )
    assert not any("4-bit" in text for text in remedies(shape, replace(job, device="cpu"), limit, table))


def test_the_largest_models_of_a_machine():
    most = largest_models(machines()["p3.2xlarge"])
    assert 6.5e9 < most.inference < 7.5e9 and 0.7e9 <= most.full <= 1.0e9
    assert most.full < most.lora < most.qlora and "no bf16" in most.notes[0] and "torch" in most.notes[1]
    assert largest_models(CPU).qlora is None
    assert largest_models(replace(CPU, memory_bytes=1)).inference is None


@pytest.mark.parametrize("text", [None, "{", "[1]"])
def test_a_config_that_cant_be_read_is_named(tmp_path, text):
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(ModelError, match="config can't be read"):
        read_config(tmp_path / "config.json")


def test_the_config_of_a_base_that_comes_with_the_package_is_found(tmp_path):
    assert config_of(Base("pocket-s"), tmp_path)["hidden_size"] == 64
    (tmp_path / "pocket-s").mkdir()
    (tmp_path / "pocket-s" / "config.json").write_text('{"hidden_size": 8}')
    assert config_of(Base("pocket-s"), tmp_path) == {"hidden_size": 8}  # a folder of the workspace comes first


def test_the_config_of_a_gguf_file_or_an_embedded_base_is_that_of_its_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("RUNGWISE_BASES", str(tmp_path / "cache"))
    write_gguf(tiny_llama(tmp_path / "tiny"), tmp_path / "tiny.gguf")
    assert config_of(Base("tiny.gguf"), tmp_path) == read_config(converted(tmp_path / "tiny.gguf") / "config.json")
    with pytest.raises(ModelError, match="not on this machine(.|\n)*rungwise bases add smollm2-135m"):
        config_of(Base("smollm2-135m"), tmp_path)
    shutil.copytree(converted(tmp_path / "tiny.gguf"), tmp_path / "cache" / EMBEDDED["smollm2-135m"].sha256)
    assert config_of(Base("smollm2-135m"), tmp_path)["model_type"] == "llama"


def test_a_hub_config_is_fetched_alone_or_the_error_is_reported(monkeypatch, tmp_path):
    import huggingface_hub

    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    asked = []

    def fetch(name, file, revision):
        asked.append((name, file, revision))
        return tmp_path / "config.json"

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fetch)
    assert config_of(Base("a/b", "0" * 40), tmp_path) == {"model_type": "llama"}
    assert asked == [("a/b", "config.json", "0" * 40)]

    def refuse(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    with pytest.raises(ModelError, match="fetched from the hub(.|\n)*no network"):
        config_of(Base("a/b", "0" * 40), tmp_path)


def test_the_text_says_first_whether_it_fits_and_then_why(workspace, settings):
    fits = plan_ladder(workspace, settings, [CPU], machines())
    text = plan_text(fits, [largest_models(CPU)])
    guess, first, *_ = text.split("\n\n")
    assert first.startswith("Everything fits on this machine; ") and "Peak memory by part" in text
    assert guess.startswith("A guess: the rows were not measured (") and "512 tokens, 32 of them the answer" in guess
    given = plan_ladder(workspace, settings, [CPU], machines(), tokens=40, answer_tokens=3)
    assert plan_text(given, []).startswith("Everything fits")
    bad = plan_ladder(workspace, settings, [replace(CPU, memory_bytes=15_000_000)], machines())
    assert sentence(bad).startswith("2 of 2 do not fit: prompt needs ") and "would fit with: " in plan_text(bad, [])
    assert "nothing to plan" in sentence([])
    assert [duration(s) for s in (5, 90, 7200, 200_000)] == ["5 s", "1.5 min", "2.0 h", "2.3 d"]


@pytest.fixture
def command(workspace, monkeypatch, capsys):
    monkeypatch.setenv("RUNGWISE_WORKSPACE", str(workspace))
    monkeypatch.setattr(measure, "this_machine", lambda: CPU)

    def run(*arguments):
        code = cli.main(["plan", *arguments])
        out = capsys.readouterr()
        return code, out.out, out.err

    return run


def test_the_command_plans_the_ladder_here_and_elsewhere(command):
    code, out, _ = command()
    assert code == 0 and out.split("\n\n")[1].startswith("Everything fits on this machine")
    code, out, _ = command("--machine", "p3.2xlarge", "--machine", THIS, "--json")
    result = json.loads(out)
    assert code == 0 and len(result["fits"]) == 4 and result["machines"][0]["sources"]["price_usd_hour"]
    assert result["largest"][0]["notes"]
    code, _, err = command("--machine", "p9")
    assert code == 2 and "no such machine" in err


def test_the_command_plans_a_config_alone(command, tmp_path, workspace):
    (tmp_path / "config.json").write_text(json.dumps(SEVEN_B))
    shutil.rmtree(workspace / "bases")
    code, out, _ = command("--config", str(tmp_path / "config.json"), "--machine", "all", "--json")
    fits = json.loads(out)["fits"]
    assert code == 0 and len(fits) == (len(LANGUAGE_MODEL_METHODS) + 1) * len(machines())
    (tmp_path / "config.json").write_text('{"model_type": "no-such"}')
    code, _, err = command("--config", str(tmp_path / "config.json"))
    assert code == 2 and "does not support this architecture" in err


def test_the_command_writes_the_faster_precision(command, workspace):
    code, out, _ = command("--write", "--tokens", "16")
    assert (
        code == 0 and "tokens a second in fp32 and" in out and "precision: " in (workspace / "params.yaml").read_text()
    )


@pytest.mark.parametrize(
    ("chosen", "device", "says"),
    [
        (("lora", {"rank": 5000}), "cuda", "a rank of at most 4096 (it is 5000), or wider targets"),
        (("sparse", {"rank": 5000}), "cuda", "a rank of at most 4096 (it is 5000), or wider targets"),
        (("last-layers", {"layers": 33}), "cuda", "at most 32 layers (`layers` is 33)"),
        (("llama-adapter", {"layers": 33}), "cuda", "at most 32 layers (`layers` is 33)"),
        (("prefix-tuning", {"tokens": 2000}), "cuda", "at most 1,536 virtual tokens with rows of 512 tokens"),
        (("lora", {}), "cpu", "precision bf16 or fp32: 4 bit requires a CUDA device"),
    ],
)
def test_an_impossible_job_does_not_fit_and_says_what_it_requires(chosen, device, says):
    shape = shape_of(SEVEN_B)
    method, settings = chosen
    job = Job(method, precision="4bit" if device == "cpu" else "bf16", settings=settings)
    machine = replace(machines()["a100-80gb"], device=device, memory_bytes=10**13)
    one = fit("x", "b", shape, job, machine, rows=1, steps=1)
    assert one.fits is False and one.remedies == (says,)
    assert one.seconds is None and one.largest_rows is None
    assert sentence([one]) == f"1 of 1 can't run with these settings: x requires {says}."
    assert fit("x", "b", shape, Job("vera", settings={"rank": 5000}), machine, rows=1, steps=1).fits


def test_a_rung_that_is_impossible_on_its_base_is_named_before_anything_starts(workspace):
    params = workspace / "params.yaml"
    params.write_text(params.read_text().replace("rank: 2,", "rank: 20,"))
    with pytest.raises(ModelError, match=r"(?s)rank-2, base bases/able.*a rank of at most 16 \(it is 20\)"):
        check_ladder(workspace, load_settings(params), CPU, machines())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--write --config c.json", "--write with --config"),
        ("--write --machine l4 --probe", "--write with --machine, --probe"),
        ("--probe --config c.json", "--probe with --config"),
        ("--rows 7", "--rows without --config"),
        ("--steps 7 --rows 3", "--rows, --steps without --config"),
        ("--tokens 5 --answer-tokens 600", "--answer-tokens 600 with --tokens 5"),
    ],
)
def test_options_that_would_be_ignored_are_refused(command, workspace, options, says):
    before = (workspace / "params.yaml").read_text()
    code, _, err = command(*options.split())
    assert code == 2 and says in err and (workspace / "params.yaml").read_text() == before


def test_the_text_says_what_was_cut_and_what_memory_to_add(command):
    code, out, _ = command("--tokens", "5000", "--answer-tokens", "9")
    assert code == 0 and "5000 tokens per row, 9 of them the answer; cut to the base's context of 256" in out
    assert "transformers: about 0.4 GB)" in out
