"""The documents hold together: length, links, settings, figures, API names; the site builds and loads nothing remote."""

import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from typing import Any

import pytest
from ruamel.yaml import YAML

import rungwise
from benchmarks import gpu
from benchmarks.abstain import RUNGS, real_table
from benchmarks.abstain import table as abstain_table
from benchmarks.climbs import climbs_table
from benchmarks.doubling import table as doubling_table
from benchmarks.gates import nights_table
from benchmarks.gates import table as gate_table
from benchmarks.intervals import table as interval_table
from benchmarks.real_data.__main__ import table
from rungwise import config
from rungwise.config import parse
from tests.conftest import REPOSITORY, script
from tests.docs.documents import DOCUMENTS, anchors, blocks, inline, links, name

RESULTS = (REPOSITORY / "docs" / "results.md").read_text(encoding="utf-8")
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
COMMIT = "0123456789abcdef0123456789abcdef01234567"
WORKSPACE: dict[str, Any] = {
    "seed": 7,
    "tasks": {"queue": {"prompt": "{body}:", "answer": {"column": "queue"}}},
    "bars": {"queue": 0.9},
    "ladder": [{"name": "classical", "method": "classical"}, {"name": "s", "base": "pocket-s", "method": "lora"}],
    "ingest": {"sources": [{"name": "rows", "path": "rows.csv"}]},
    **{section: {} for section in ("validate", "split", "augment", "train", "evaluate", "decide")},
}
IDS = [name(document) for document in DOCUMENTS]
each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=IDS)


def loaded(text: str) -> Any:
    return YAML(typ="safe").load(text.replace("COMMIT", COMMIT).replace('"SHA256"', f'"{"0" * 64}"'))


def spliced(shown: dict[str, Any]) -> config.Settings:
    """Returns the settings of a minimal workspace in which the sections shown replace its own; sources stay."""
    ingest = WORKSPACE["ingest"] | shown.get("ingest", {})
    return parse(WORKSPACE | shown | {"ingest": ingest})


def test_the_readme_is_short():
    assert len(README.split()) <= 900


@each_document
def test_relative_links_and_anchors_resolve(document):
    for path, anchor in links(document):
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), f"{path}: no such file"
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}: no such heading"


@each_document
def test_settings_shown_are_valid(document):
    for block in blocks(document, "yaml"):
        spliced(loaded(block))
    for code in inline(document):
        if re.match(r"[a-z_]+: [\[{]", code):
            shown = loaded(code)
            spliced(shown)


def test_the_architecture_names_every_room_and_its_floors():
    text = (REPOSITORY / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rooms = {p.name for p in (REPOSITORY / "components/rungwise").iterdir() if (p / "__init__.py").exists()}
    assert rooms == set(re.findall(r"^\| `(\w+)` \|", text, re.M))
    (contract, *_) = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    floors = [floor.replace("rungwise.", "").replace(" | ", ", ") for floor in contract["layers"]]
    assert "\n".join(floors) in text


def result_of(benchmark: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((REPOSITORY / f"benchmarks/results/{benchmark}.json").read_text())
    return result


def test_the_figures_of_answers_without_people_and_of_one_doubling_are_the_recorded_ones():
    detail = result_of("abstain")["detail"]
    assert abstain_table(detail) in RESULTS and real_table(detail) in RESULTS
    broken = [one["rungwise"]["broken"] for key, one in detail.items() if "rungwise" in str(one)]
    assert len(broken) == 16 and max(broken) <= 0.1, "the promise holds in every cell"
    out = [detail[f"clinc150, {rung}, 95% right"]["out of scope and answered as an intent"] for rung in RUNGS]
    text = " ".join(RESULTS.split())
    assert (
        "*classical* answers {:.0%} of the rows out of scope as if they had an intent, and *embed* {:.0%}".format(*out)
        in text
    )
    result = result_of("doubling")
    covers, cells = result["figures"]["the range covers what came"], result["figures"]["cells"]["value"]
    assert doubling_table(result["detail"]["cells"]) in RESULTS
    assert f"covers what came in {covers['value']:.0%} of {cells} cells" in text and f"{covers['peer']:.0%}." in text
    page = (REPOSITORY / "docs/concepts/climb.md").read_text(encoding="utf-8")
    assert f"in {covers['value']:.0%} of {cells} cases" in page


def test_many_settings_are_shown():
    assert sum(len(blocks(document, "yaml")) for document in DOCUMENTS) >= 8


def test_the_settings_reference_names_every_setting():
    page = generator().settings()

    def sections(model):
        yield model
        for field in model.model_fields.values():
            if inner := config.inner_section(field.annotation):
                yield from sections(inner)

    for section in sections(config.Settings):
        for key, field in section.model_fields.items():
            assert f"\n`{field.alias or key}` *" in "\n" + page, key
    assert "\n: \n" not in page, "a setting without a description"


def test_the_command_reference_names_every_command():
    page = generator().commands()
    for command in ("init", "run", "predict", "data forget", "plan", "unpack"):
        assert f"rungwise {command}\n" in page
    assert "`--purge`" in page and "`--rows FILE` *required, repeatable*" in page


def test_a_marker_without_a_generator_is_an_error():
    with pytest.raises(KeyError, match="nothing"):
        generator().filled("<!-- generated: nothing -->")


def generator() -> Any:
    spec = importlib.util.spec_from_file_location("generate", REPOSITORY / "docs" / "generate.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@each_document
def test_python_shown_compiles_and_imports_what_exists(document):
    for block in blocks(document, "python"):
        compile(block, name(document), "exec")
        for names in re.findall(r"^from rungwise import (.*)$", block, re.M):
            assert set(names.split(", ")) <= set(rungwise.__all__)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built with every warning an error."""
    for package in ("sphinx", "furo", "myst_parser"):
        pytest.importorskip(package, reason=f"{package} is not installed: `pip install -e '.[docs]'`")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "-d", out / "trees"]
    done = subprocess.run(
        [*command, REPOSITORY / "docs", out / "html"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return out / "html"


def test_the_site_builds_and_its_reference_is_filled_in(site):
    assert "max_tokens_per_microbatch" in (site / "reference/settings.html").read_text()
    assert "rungwise data forget" in (site / "reference/commands.html").read_text()
    assert "Problem" in (site / "reference/python.html").read_text()


def test_the_built_pages_load_nothing_from_other_hosts(site):
    for page in site.rglob("*.html"):
        text = page.read_text()
        assert not re.findall(r"<(?:script|img|iframe|link)[^>]*(?:src|href)=[\"'](?:https?:)?//[^>]*", text), page
    for style in site.rglob("*.css"):
        assert not re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", style.read_text()), style


@pytest.fixture(scope="module")
def record():
    return script("record")


def test_the_demonstrations_figures_are_those_on_record(record):
    recorded = json.loads(record.RESULTS.read_text())
    assert record.results_table(recorded) in RESULTS
    assert record.picture(recorded) == record.PICTURE.read_text()
    for one in recorded["tasks"].values():
        assert one["sentence"] in RESULTS
        assert one["champion"] is None or one["test_look"]
    reply = recorded["tasks"]["reply"]
    assert reply["sentence"] in README
    for rung in (one for one in reply["rungs"] if "is_beyond" not in one):
        shown = "{value:.3f} ({low:.3f} to {high:.3f}, n={n})".format_map(rung)
        assert re.search(rf"^{rung['rung']} +\w+ +{re.escape(shown)}", README, re.M), rung


def measured(benchmark: str) -> dict[str, Any]:
    """Returns a recorded result: its figures, and the raw measurements behind them."""
    recorded = json.loads((REPOSITORY / f"benchmarks/results/{benchmark}.json").read_text())
    return {**recorded.get("detail", {}), **recorded}


def test_the_figures_of_leaks_are_those_on_record():
    leakage = measured("leakage")
    for kind, one in leakage["kinds"].items():
        shown = " | ".join(f"{one[key]:.1%}" for key in ("found", "sha256_of_row", "equal_message"))
        assert f"| {kind} | {shown} |" in RESULTS
    twins = leakage["natural_twins"]
    assert f"{twins['with_a_twin']} of {twins['test_rows']:,}" in RESULTS
    kinds = leakage["kinds"]
    assert f"typos {kinds['typo']['found']:.1%}, with swapped words {kinds['word swaps']['found']:.1%}" in README
    other = f"{kinds['typo']['equal_message']:.1%} and {kinds['word swaps']['equal_message']:.1%}"
    assert f"hashes finds {other}" in " ".join(README.split())


def test_the_figures_of_training_are_those_on_record():
    figures = measured("training")["figures"]
    rows = [line for line in RESULTS.splitlines() if line.startswith("| answers of")]
    for row, kind in zip(rows, ("short", "long", "instructed"), strict=True):
        value = {key: figures[f"{kind}: {key}"]["value"] for key in ("times as fast", "share of memory")}
        floor, half = figures[f"{kind}: share of the floor"]["value"], figures[f"{kind}: bf16 times as fast as fp32"]
        cells = [cell.split(" (")[0].strip() for cell in row.strip("|").split("|")[1:]]
        assert cells == [
            f"{value['times as fast']:.1f}", f"{value['share of memory']:.2f}", f"{floor:.0%}", f"{half['value']:.1f}",
        ]  # fmt: skip
    fast = [f"{figures[f'{kind}: times as fast']['value']:.1f}" for kind in ("short", "long")]
    assert f"{fast[0]} and {fast[1]} times as fast as TRL's SFTTrainer" in README


def test_the_figures_of_the_usual_way_are_those_on_record():
    usual = measured("usual-bf16")
    for run, one in usual["runs"].items():
        shown = f"{one['train_seconds']:.0f} s | {one['answer_seconds']:.0f} s | {one['all_seconds']:.0f} s"
        assert f"| {run} | {shown} | {one['right']} | {one['peak_mib'] / 1024:.1f} GiB |" in RESULTS
    share, speed = (usual["figures"][name]["value"] for name in ("share of the usual time", "training: times as fast"))
    text = " ".join(RESULTS.split())
    assert f"{share:.2f} of the better usual run's processor time" in text and f"{speed:.1f} times as fast" in text


def test_the_figures_of_the_gpu_are_those_on_record():
    figures = measured("gpu-nvidia-h200")["figures"]
    cases = [name.removesuffix(": times as fast") for name in figures if name.endswith(": times as fast")]
    assert len(cases) == 6
    page = (REPOSITORY / "docs/results.md").read_text()
    for case in cases:
        speed, memory = (figures[f"{case}: {what}"]["value"] for what in ("times as fast", "share of memory"))
        tokens, error = (figures[f"{case}: {what}"]["value"] for what in ("tokens per second", "planner's error"))
        peak = figures[f"{case}: peak memory"]["value"]
        assert f"| {tokens:,.0f} | {speed:.2f} | {memory:.2f} | {peak:.1f} GiB | {error:+.1f} % |" in page


def test_the_plan_of_the_gpu_is_todays_and_close_to_the_recorded_peaks():
    training = measured("gpu-nvidia-h200")["training"]
    for title, case in gpu.CASES.items():
        own = training[title]["rungwise"]
        assert gpu.planned_bytes(case) == own["planned_bytes"], "write the plan into the record and the page again"
        assert 0.0 <= own["planner_error"] < 0.07
        assert own["planner_error"] == own["planned_bytes"] / own["peak_bytes"] - 1


def test_the_table_of_intervals_is_the_one_on_record_and_meets_its_goal():
    intervals = measured("intervals")
    assert interval_table(intervals["detail"]) in RESULTS
    assert all(figure["met"] for figure in intervals["figures"].values())


def test_the_figures_of_the_gate_are_those_on_record():
    gates = measured("gates")
    detail = gates["detail"]
    assert gate_table(detail) in RESULTS and nights_table(detail) in RESULTS
    text, page = " ".join(RESULTS.split()), (REPOSITORY / "docs/concepts/gates.md").read_text()
    for share, n in ((share, gates["figures"][f"rows that show an equal smaller model, {share} discordant"]["value"])
                     for share in ("3%", "8%")):  # fmt: skip
        assert f"{n:,}" in text and f"{n:,}" in page and share in page
    worst = max(one["2 points worse, smaller base"] for key, one in detail.items() if key.endswith(": rungwise"))
    assert f"promoted in {worst:.1%} at most" in text
    assert climbs_table(detail) in RESULTS
    good = [one["good last"][0] for key, one in detail.items() if key.endswith(", climbs")]
    assert len(good) == 3 and not any(one["bad"] for one in good), "a rung below the bar was never promoted"
    labels, equal = (detail[f"100 labels, {better} better"] for better in ("3%", "0%"))
    shares = [f"{labels[name]:.0%}" for name in ("where they differ", "at random")]
    assert "in {} of all cases, and in {} where".format(*shares) in text
    assert f"a difference that is not there in {equal['where they differ']:.1%}" in text
    compared = " ".join((REPOSITORY / "docs/howto/compare.md").read_text().split())
    assert "3 points in {} of all cases, 100 labels of rows drawn at random in {}".format(*shares) in compared


def test_the_table_of_real_data_is_the_one_on_record():
    assert table(measured("real_data-bf16")["details"]) in RESULTS


def test_the_figures_of_real_data_with_a_small_base_are_those_on_record():
    for task, one in measured("real_data")["details"].items():
        dev = one["dev"]
        shown = f"{dev['value']:.3f}, {dev['low']:.3f} to {dev['high']:.3f} ({dev['n']:,})"
        (row,) = [line for line in RESULTS.splitlines() if line.startswith(f"| {task.replace('/', ', ')} |")]
        assert shown in row and f"{one['reference']['value']:.3f} |" in row and f"{one['train_seconds']:.0f} s" in row


def test_the_figures_of_the_planner_and_the_methods_are_those_on_record():
    figures = {key: one["value"] for key, one in measured("planner")["figures"].items()}
    text = " ".join(RESULTS.split())
    assert f"{figures['mean_absolute_error']:g} % off on average" in text
    assert f"at worst {-figures['most_underestimated']:g} % too low" in text
    assert f"{figures['mean_absolute_error']:g} % mean error over {figures['combinations']} combinations" in README
    scores = {trial["method"]: trial["score"]["value"] for trial in measured("methods")["trials"]}
    shown = {"full": "Full fine-tuning", "pissa": "PiSSA", "dora": "DoRA", "sparse": "sparse entries"}
    for method, words in shown.items():
        assert f"{words} ({scores[method]:.3f})" in text


def test_the_figures_of_rows_and_audit_are_those_on_record():
    text = " ".join(RESULTS.split())
    data = measured("data")
    seconds = data["runs"][-1]["seconds"]
    assert (
        f"ingest {seconds['ingest']:.0f} s, near duplicates with verification {seconds['near duplicates']:.0f} s"
        in text
    )
    assert f"{data['peer']['times_as_fast']} times as fast as the same with datasketch" in text
    seeds = list(measured("suspects")["seeds"].values())
    recall = [seed["recall_in_top_tenth"] for seed in seeds]
    assert f"{min(recall):.1%} to {max(recall):.1%} are in the tenth" in text
    assert measured("audit")["figures"]["planted faults found"]["value"] == 10 and "Ten faults planted" in text
