"""Lists, texts and objects run end to end; a rung without a language model becomes champion and answers."""

import json

import pytest

from rungwise.core.climb_reasons import WithoutModel
from rungwise.core.folders import read_json, read_lines
from rungwise.pipeline import stages
from rungwise.workspace.layout import Paths
from tests.conftest import KEYWORDS, planted_rows, with_dvc, write_workspace

LADDER = """\
  - {name: classical, method: classical}
  - {name: prompt, base: bases/able, method: prompt, examples: 1}
  - {name: rank-8, base: bases/able, method: lora, rank: 8, alpha: 16, steps: 120}
"""
TASKS = """\
tasks:
  words:
    prompt: "{body}\\nQueue:"
    answer: {column: words, format: list}
  reply:
    prompt: "{body}\\nQueue:"
    answer: {column: queue, format: text, facts: queue}
    metric: chrf_facts
  both:
    prompt: "{body}\\nQueue:"
    answer:
      format: json
      facts: queue
      fields: {q: {column: queue}, w: {column: words, format: list}}
bars: {words: 0.7, reply: 0.8, both: 0.8}
"""


def test_lists_texts_and_objects_are_trained_and_scored(tmp_path, base_folder):
    root = write_workspace(tmp_path / "ws", base_folder, ladder=LADDER, rows=10)
    word = {label: key for key, label in KEYWORDS.items()}
    rows = [f"{text},{label},{word[label]};{label}" for text, label in planted_rows(240)]
    (root / "data/raw/tickets.csv").write_text("\n".join(["body,queue,words", *rows]) + "\n")
    params = (root / "params.yaml").read_text()
    start, end = params.index("tasks:"), params.index("ladder:")
    (root / "params.yaml").write_text(
        params[:start]
        + TASKS
        + params[end:]
        .replace("templates:", "max_share: 0.5, templates:")
        .replace("decide: {", "decide: {beyond_classical: true, ")
    )
    for verb in ("ingest", "validate", "split", "augment"):
        stages.run_stage(root, verb)
    words, reply, both = stages.climb(root)
    assert words.decision.rung == "classical" and words.decision.passes and words.metric == "set_f1"
    assert isinstance(words.comparison, WithoutModel) and words.comparison.is_enough
    assert words.comparison.rung == "classical"
    plain, prompt, tuned = reply.evidence
    assert plain.score.value > 0.9, "the reply of the most similar row"
    assert prompt.score.value < 0.5 < 0.9 < tuned.score.value and reply.decision.passes
    assert tuned.also["fact coverage"].value > 0.9 and tuned.also["chrF"].value > 0.9
    tuned = both.evidence[-1]
    # a base of random weights learns to write objects, not much more
    assert tuned.score.low > 0.1 and tuned.also["valid objects"].value > 0.4 and set(tuned.also) >= {"q", "w"}
    (first, *_) = read_lines(Paths(root).output("climb") / "both/predictions/rank-8.jsonl")
    assert set(json.loads(first["expected"])) == {"q", "w"}
    files = {p.name for p in (Paths(root).output("climb") / "words/best").iterdir()}
    assert files == {"classical.json", "classical.safetensors", "data.json", "result.json", "spec.json"}
    assert read_json(Paths(root).output("climb") / "words/best/spec.json")["base"] is None


@pytest.mark.slow
def test_a_rung_without_a_language_model_is_registered_promoted_and_answers(tmp_path, base_folder, rungwise):
    root = with_dvc(write_workspace(tmp_path / "ws", base_folder, ladder=LADDER))
    done = rungwise(root, "run")
    assert done.returncode == 0, done.stderr
    assert "You do not need a language model for this: classical" in done.stdout
    assert "it is the champion, version 1" in done.stdout
    answer = rungwise(root, "predict", "route", "a broken lamp", "--json")
    assert json.loads(answer.stdout)["answer"] == "repair", answer.stderr
    again = rungwise(root, "run")
    assert again.returncode == 0 and "version 1" in again.stdout and "trained" not in again.stderr
    explained = json.loads(rungwise(root, "explain", "--json").stdout)["route"]
    assert explained["rungs"][0]["method"] == "classical" and explained["decision"]["passes"]
    assert explained["comparison"]["code"] == "without_model" and explained["comparison"]["is_enough"]
    assert explained["comparison"]["sentence"].startswith("You do not need a language model for this: classical")
    assert (
        explained["decision"]["reasons"][0]["passes"] and "it passes" in explained["decision"]["reasons"][0]["sentence"]
    )
    assert "is the accuracy at least 0.9" in rungwise(root, "explain", "route").stdout
    unknown = rungwise(root, "explain", "other")
    assert unknown.returncode == 2 and "there is no such task" in unknown.stderr
