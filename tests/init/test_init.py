import csv
import json
import random
import subprocess
import sys
from typing import Any

import pytest

from rungwise.config import load
from rungwise.core.errors import DataError, RungwiseError, SettingsError
from rungwise.init.file_form import _encoding
from rungwise.init.guess import guess
from rungwise.init.init import init
from rungwise.init.warnings import ENGLISH, language_warnings, tokenizer_folders
from rungwise.workspace.resources import package_file
from tests.conftest import environment, error_of, planted_rows, with_dvc


def write(path, header, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    return path


@pytest.fixture
def rows(tmp_path):
    return write(tmp_path / "mails.csv", ("body", "queue"), planted_rows(600))


def test_a_file_of_rows_becomes_a_workspace(tmp_path, rows, base_folder, rungwise):
    target = tmp_path / "mine"
    arguments = ("--rows", str(rows), "--text", "body", "--answer", "queue", "--base", str(base_folder))
    done = rungwise(tmp_path, "init", str(target), *arguments)
    assert done.returncode == 0, done.stderr
    assert "Format label: 4 different short answers in 600 rows" in done.stdout
    assert "Warning: with 90 test rows, a score of 0.97 is needed to show the bar of 0.9" in done.stdout
    assert "LoRA on your bases: able" in done.stdout
    params = load(target / "params.yaml")
    assert [r.name for r in params.ladder] == ["classical", "prompt", "able"] and params.bars == {"queue": 0.9}
    assert (target / ".dvc").is_dir() and (target / ".git").is_dir()


@pytest.mark.slow
def test_a_run_of_the_new_workspace_leaves_only_small_files_for_git(tmp_path, rows, base_folder, rungwise):
    target = tmp_path / "mine"
    arguments = ("--rows", str(rows), "--text", "body", "--answer", "queue", "--base", str(base_folder))
    assert rungwise(tmp_path, "init", str(target), *arguments).returncode == 0
    ran = rungwise(target, "run")
    assert ran.returncode == 0 and "You do not need a language model for this" in ran.stdout, ran.stderr
    status = subprocess.run(
        ["git", "status", "--short", "-uall"], cwd=target, capture_output=True, text=True, check=True
    )
    untracked = {line[3:] for line in status.stdout.splitlines()}
    ours = {".gitignore", "data/.gitignore", "data/raw/mails.csv", "dvc.lock", "dvc.yaml", "params.yaml"}
    history = {name for name in untracked if name.startswith("data/versions")}
    assert len(history) == 3  # a line for the version, its profile, its lock
    others = untracked - history - {".dvcignore", ".dvc/config", ".dvc/.gitignore"}
    more = {name for name in others - ours if not name.startswith("data/promote/scores/")}
    assert more <= {"data/promote/ledger.jsonl"}


def test_it_joins_the_repository_around_it(tmp_path, rows):
    top = tmp_path / "repo"
    top.mkdir()
    with_dvc(top)
    init(top / "team" / "mails", rows, "body", "queue")
    assert not (top / "team/mails/.git").exists() and not (top / "team/mails/.dvc").exists()
    other = tmp_path / "plain"
    other.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=other, check=True)
    init(other / "mails", rows, "body", "queue")
    assert (other / "mails/.dvc").is_dir() and not (other / "mails/.git").exists()
    done = subprocess.run([sys.executable, "-m", "dvc", "status"], cwd=other / "mails", env=environment(), check=False)
    assert done.returncode == 0


@pytest.fixture(autouse=True)
def no_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RUNGWISE_BASES", str(tmp_path / "cache"))


def test_a_pretrained_model_is_the_default_and_nothing_is_fetched(tmp_path, rows, monkeypatch):
    monkeypatch.setattr("rungwise.init.training.speedup", lambda: 4.0)
    text = "\n".join(init(tmp_path / "ws", rows, "body", "queue"))
    assert "LoRA on a small pretrained model: smollm2-135m." in text
    assert "(Apache-2.0); the first run that uses it fetches 93 MB. Without a network: `--base pocket-s`." in text
    assert "Training: 100 steps of 16 rows, about 3.8 epochs. Precision bf16: matrix products in bf16 take 25%" in text
    assert text.endswith("&& rungwise run") and "pin" not in text
    params = load(tmp_path / "ws/params.yaml")
    assert [(r.method, r.base) for r in params.ladder] == [
        ("classical", None), ("embed", "minilm-l6"), ("prompt", "smollm2-135m"), ("lora", "smollm2-135m")
    ]  # fmt: skip
    assert (params.train.steps, params.train.batch_size, params.train.precision) == (100, 16, "bf16")
    assert params.train.learning_rate is None and not (tmp_path / "cache").exists()


def test_a_base_can_be_a_gguf_file_but_not_an_encoder(tmp_path, rows, monkeypatch):
    monkeypatch.setattr("rungwise.init.training.speedup", lambda: 1.0)
    file = tmp_path / "my model.Q4_0.gguf"
    file.write_bytes(b"GGUF")
    init(tmp_path / "ws", rows, "body", "queue", bases=[str(file)])
    rung = load(tmp_path / "ws/params.yaml").ladder[2]
    assert (rung.name, rung.base) == ("my-model-q4-0-gguf", str(file))
    with pytest.raises(RungwiseError, match="this base does not exist"):
        init(tmp_path / "other", rows, "body", "queue", bases=["models/none.gguf"])
    with pytest.raises(RungwiseError, match="an encoder can't write answers"):
        init(tmp_path / "other", rows, "body", "queue", bases=["minilm-l6"])


def test_the_users_test_rows_stay_test_rows(tmp_path, rows):
    test = write(tmp_path / "later.csv", ("body", "queue"), planted_rows(250, 2))
    lines = init(tmp_path / "ws", rows, "body", "queue", test=test, bases=["pocket-s"])
    params = load(tmp_path / "ws/params.yaml")
    assert params.ladder[2].name == "pocket-s" and [s.role for s in params.ingest.sources] == [None, "test"]
    sides = "600 rows in mails.csv: about 510 for training, about 90 for validation. 250 test rows in later.csv."
    assert lines[0] == sides and "test rows" not in "".join(lines[1:])


def test_columns_with_any_name_and_rows_that_are_lists(tmp_path):
    odd = write(tmp_path / "odd.csv", ("seed: {x}", "tasks"), planted_rows(60))
    init(tmp_path / "a", odd, "seed: {x}", "tasks")
    params = load(tmp_path / "a/params.yaml")
    assert params.ingest.sources[0].columns == {"text": "seed: {x}"} and params.tasks["tasks"].answer.column == "tasks"
    halves = {"train": planted_rows(90), "val": planted_rows(80, 5), "test": planted_rows(220, 3)}
    (tmp_path / "clinc.json").write_text(json.dumps(halves))
    file = tmp_path / "clinc.json"
    given: dict[str, Any] = {"test_records": "test.[]", "dev_records": "val.[]"}  # of the same file
    lines = init(tmp_path / "b", file, "[0]", "[1]", records="train.[]", **given)
    assert lines[0] == (
        "90 training rows in clinc.json. 80 validation rows in clinc.json. 220 test rows in clinc.json."
    )
    from rungwise.pipeline.stages import run_stage

    for verb in ("ingest", "validate", "split"):
        run_stage(tmp_path / "b", verb)
    sides = {s: (tmp_path / f"b/data/split/b/{s}.jsonl").read_text().count("\n") for s in ("train", "dev", "test")}
    assert sides["test"] == 220 and sides["train"] + sides["dev"] > 165
    semicolons = tmp_path / "semi.csv"
    semicolons.write_text("body;queue\n" + "".join(f"{t};{q}\n" for t, q in planted_rows(60)))
    init(tmp_path / "c", semicolons, "body", "queue")
    assert load(tmp_path / "c/params.yaml").ingest.sources[0].delimiter == ";"


def test_lines_of_a_label_and_a_text_in_another_encoding(tmp_path):
    file = tmp_path / "questions.label"
    file.write_bytes("".join(f"{q} {t} caf\xe9 ?\n" for t, q in planted_rows(60)).encode("latin-1"))
    lines = init(tmp_path / "ws", file, "text", "label")
    assert "questions.label is not UTF-8 and was read as cp1252. Check a row that has an accent." in lines
    from rungwise.pipeline.stages import run_stage

    run_stage(tmp_path / "ws", "ingest")
    first = json.loads((tmp_path / "ws/data/ingest/ws/examples.jsonl").read_text().splitlines()[0])
    assert first["fields"]["text"].endswith("caf\xe9 ?") and first["answer"] in {
        "account",
        "billing",
        "delivery",
        "repair",
    }


@pytest.mark.parametrize(
    ("ending", "encoding"),
    [
        ("größe é\n".encode() * 5 + b"bro\xffken\n", "utf-8"),
        ("a “quoted” €\n".encode("cp1252"), "cp1252"),
        (b"\x81 caf\xe9\n", "latin-1"),
        (b"plain\n", "utf-8"),
    ],
)
def test_the_encoding_that_fits_most_of_the_bytes(tmp_path, ending, encoding):
    (tmp_path / "x.csv").write_bytes(b"body,queue\n" + ending)
    assert _encoding(tmp_path / "x.csv") == encoding
    (tmp_path / "x.csv").write_bytes("body,queue\n".encode("utf-16"))
    assert _encoding(tmp_path / "x.csv") == "utf-16"


def test_names_that_are_patterns_and_files_of_one_name(tmp_path):
    for folder in ("train", "test"):
        (tmp_path / folder).mkdir()
    file = write(tmp_path / "train/mails[1].csv", ("body", "queue"), planted_rows(300))
    test = write(tmp_path / "test/mails[1].csv", ("body", "queue"), planted_rows(80, 4))
    lines = init(tmp_path / "my ws", file, "body", "queue", test=test, bases=["acme/pocket"])
    assert lines[-1].endswith(f"Next: cd '{tmp_path}/my ws' && rungwise pin && rungwise run")
    assert {p.name for p in (tmp_path / "my ws/data/raw").iterdir()} == {"mails[1].csv", "test-rows-mails[1].csv"}
    from rungwise.pipeline.stages import run_stage

    run_stage(tmp_path / "my ws", "ingest")
    assert (tmp_path / "my ws/data/ingest/queue/examples.jsonl").read_text().count("\n") == 380


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x\x7f.csv", "body", "the name of a file has characters"),
        ("x\u2028.csv", "body", "the name of a file has characters"),
        ("~x.csv", "body", "params.yaml can't name this file"),
        ("x.csv", "a\x85b", "the name of a text column has characters"),
        ("x.csv", "", "the name of a text column has characters"),
    ],
)
def test_names_that_can_not_be_written_are_errors(tmp_path, name, text, message):
    file = write(tmp_path / name, (text, "queue"), planted_rows(60))
    with pytest.raises(RungwiseError, match=message):
        init(tmp_path / "ws", file, text, "queue")
    assert not (tmp_path / "ws").exists()


def test_it_warns_of_rows_that_will_be_rejected_and_of_sides_that_are_too_small(tmp_path, rows):
    few = write(tmp_path / "few.csv", ("body", "queue"), [*planted_rows(60, 3), *[("text", "")] * 90])
    lines = "\n".join(init(tmp_path / "a", rows, "body", "queue", dev=few))
    assert "Warning: with 60 validation rows, a score of 0.93 is needed to pass the bar of 0.9" in lines
    assert (
        "Warning: 90 of 150 rows in few.csv can't be used: no_answer: 90 (first: line 62, column queue is empty)"
        in lines
    )
    assert "`ingest.max_rejected_share` is set to 0.2. They are counted and left out." in lines
    assert load(tmp_path / "a/params.yaml").ingest.max_rejected_share == 0.2
    lines = "\n".join(init(tmp_path / "b", few, "body", "queue"))
    assert "20 validation rows are too few to show much: 30 are usual; `decide.min_scored` is lowered to 10" in lines


def test_many_rows_give_validation_and_test_rows_up_to_a_bound(tmp_path):
    file = write(tmp_path / "many.csv", ("body", "queue"), planted_rows(20_000))
    lines = init(tmp_path / "ws", file, "body", "queue")
    split = load(tmp_path / "ws/params.yaml").split
    assert (
        lines[0]
        == "20,000 rows in many.csv: about 17,000 for training, about 1,000 for validation, about 2,000 for test."
    )
    assert (split.dev, split.test) == (0.05, 0.1)


def test_guesses():
    draw = random.Random(1)
    items = ["tent", "zip", "late parcel", "boots", "refund"]
    assert guess([f"{a}; {b}" for a, b in (draw.sample(items, 2) for _ in range(60))]).format == "list"
    assert guess([f"{a}, {b}" for a, b in (draw.sample(range(999), 2) for _ in range(60))]).separator == ","
    assert guess([f"This is reply {i}, and a friendly one. Bye." for i in range(60)]).format == "text"
    assert guess([draw.choice(["yes", "no", "out of scope"]) for _ in range(60)]).format == "label"


def lists(tmp_path):
    path = tmp_path / "k.jsonl"
    rows = ({"t": f"text {i}", "k": [f"one {i}", "two", "three"]} for i in range(60))
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


def test_lists_of_texts_in_json_are_items(tmp_path):
    lines = init(tmp_path / "ws", lists(tmp_path), "t", "k")
    assert "Format list: the answers are lists of 3.0 items on average, 62 different ones" in lines[1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: write(p, ("body",), [(t,) for t, _ in planted_rows(50)]), "a column is missing"),
        (lambda p: write(p, ("body", "queue"), [(t, "same") for t, _ in planted_rows(50)]), "all answers are equal"),
        (lambda p: write(p, ("body", "queue"), planted_rows(5)), "too few rows.*5 rows"),
        (lambda p: write(p, ("body", "queue"), []), "no row of a file can be read.*no rows below"),
        (lambda p: p.with_name("nothing.csv"), "the file of rows does not exist"),
        (lambda p: write(p, ("mail", "queue"), planted_rows(50)), "a column is missing.*--text COLUMN --answer COLUMN"),
        (lambda p: p.write_text("") and p or p, "a file of rows is empty"),
    ],
)
def test_rows_that_can_not_be_used_write_no_file(tmp_path, make, message):
    with pytest.raises(RungwiseError, match=f"(?s){message}"):
        init(tmp_path / "ws", make(tmp_path / "x.csv"), "body", "queue")
    assert not (tmp_path / "ws").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"bases": ["./nonesuch"]}, "this base does not exist.*a folder with a model, a GGUF file, owner/name"),
        ({"bases": ["gpt2"]}, "this base does not exist"),
        ({"bases": ["a/b"], "ladder": "pythia"}, "can't be used together.*--ladder pythia and --base a/b"),
        ({"test": "same"}, "the same rows can't be on two sides"),
    ],
)
def test_options_that_contradict_write_no_file(tmp_path, rows, more, message):
    with pytest.raises(RungwiseError, match=f"(?s){message}"):
        init(tmp_path / "ws", rows, "body", "queue", **{k: rows if v == "same" else v for k, v in more.items()})
    assert not (tmp_path / "ws").exists()


def test_a_file_in_place_of_a_folder_is_named(tmp_path, rows):
    (tmp_path / "ws/data").mkdir(parents=True)
    (tmp_path / "ws/data/raw").write_text("hi")
    with pytest.raises(RungwiseError, match=r"(?s)needs a folder.*data/raw"):
        init(tmp_path / "ws", rows, "body", "queue")


def test_it_warns_of_duplicates_and_of_answers_without_a_value(tmp_path):
    few = planted_rows(60)
    path = write(tmp_path / "x.csv", ("body", "queue"), [*few, *((t + " x", "None") for t, _ in few[:20])])
    lines = " ".join(init(tmp_path / "ws", path, "body", "queue"))
    assert "20 answers are 'None'" in lines and "different texts" not in lines
    path = write(tmp_path / "y.csv", ("body", "queue"), few * 3)
    assert "180 rows with only 60 different texts" in " ".join(init(tmp_path / "other", path, "body", "queue"))
    path = write(tmp_path / "z.csv", ("body", "queue"), few[:20] * 3)
    with pytest.raises(DataError, match=r"(?s)too few rows are different.*20 different ones of 60"):
        init(tmp_path / "third", path, "body", "queue")


def test_it_warns_of_rows_that_a_base_can_not_read(tmp_path, base_folder):
    rows = planted_rows(60)
    path = write(tmp_path / "x.csv", ("body", "queue"), [(f"{text} " * 60, label) for text, label in rows])
    lines = " ".join(init(tmp_path / "ws", path, "body", "queue", bases=[str(base_folder)]))
    assert "of the rows are longer than the context of able (256 tokens)" in lines
    short = write(tmp_path / "y.csv", ("body", "queue"), rows)
    assert "the context of" not in " ".join(init(tmp_path / "other", short, "body", "queue", bases=[str(base_folder)]))


def test_control_characters_are_escaped(tmp_path):
    path = write(tmp_path / "x.csv", ("bo\x1b[31mdy", "queue"), planted_rows(50))
    with pytest.raises(RungwiseError) as error:
        init(tmp_path / "ws", path, "body", "queue")
    assert "\x1b" not in str(error.value) and "bo\\u001b[31mdy" in str(error.value)


def test_a_cell_of_five_million_characters_is_named_before_anything_runs(tmp_path):
    path = write(tmp_path / "x.csv", ("body", "queue"), [*planted_rows(60), ("x" * 5_000_000, "repair")])
    lines = init(tmp_path / "ws", path, "body", "queue")
    assert any("5,000 words will be rejected: 1 of 61" in line for line in lines)


def test_no_file_is_overwritten_and_no_workspace_is_inside_another(tmp_path, rows, rungwise):
    init(tmp_path / "ws", rows, "body", "queue")
    arguments = ("--rows", str(rows), "--text", "body", "--answer", "queue")
    kept = (tmp_path / "ws/params.yaml").read_bytes()
    assert "already has a workspace or a DVC pipeline" in error_of(rungwise(tmp_path, "init", "ws", *arguments))
    assert "can't be inside another" in error_of(rungwise(tmp_path, "init", "ws/data/more", *arguments))
    assert (tmp_path / "ws/params.yaml").read_bytes() == kept
    same = ("--rows", str(rows), "--text", "body", "--answer", "body")
    assert "the same column" in error_of(rungwise(tmp_path, "init", "other", *same))
    unknown = error_of(rungwise(tmp_path, "init", "other", *arguments, "--ladder", "nonsense"))
    assert "this ladder does not exist" in unknown and not (tmp_path / "other").exists()


@pytest.mark.parametrize("name", sorted(p.stem for p in package_file("init", "ladders").glob("*.yaml")))
def test_a_preset_names_hub_models_and_nothing_runs_before_they_are_pinned(tmp_path, rows, rungwise, name):
    lines = init(tmp_path / "ws", rows, "body", "queue", ladder=name)
    assert any(f"preset {name}" in line for line in lines)
    ladder = load(tmp_path / "ws/params.yaml").ladder
    assert ladder[0].method == "classical" and all("@" not in str(r.base) for r in ladder)
    assert len({r.base for r in ladder if r.base}) >= 2 and all(r.learning_rate is None for r in ladder)
    assert all(r.template == "chat" for r in ladder if r.base) == (name != "pythia")
    refused = error_of(rungwise(tmp_path / "ws", "run"))
    assert "`rungwise pin` adds the commit to a hub name" in refused
    assert not (tmp_path / "ws/data/ingest").exists()


def test_rows_deeper_in_a_json_file_name_the_option(tmp_path):
    (tmp_path / "rows.json").write_text('{"data": [{"body": "a", "queue": "b"}]}')
    with pytest.raises(DataError, match=r"(?s)another form.*an object with data.*--records KEY"):
        init(tmp_path / "ws", tmp_path / "rows.json", "body", "queue", records="[]")


def test_a_base_that_reads_a_language_poorly_is_named(base_folder):
    folders = tokenizer_folders([str(base_folder), "owner/not-here"])
    assert list(folders) == ["able"]
    assert not language_warnings([ENGLISH], folders)
    made_up = ["Ξεσκεπάζω την ψυχοφθόρα βδελυγμία", "Ο καλύμνιος σφουγγαράς"] * 5
    (line,) = language_warnings(made_up, folders)
    assert line.startswith("Warning: able reads the language of these rows poorly") and "--ladder qwen3" in line


def test_words_are_proposed_for_labels_that_are_codes(tmp_path):
    queues = {"account": "ACC", "billing": "BILL", "delivery": "DELI", "repair": "REP"}
    coded = [(f"{text} {answer}", queues[answer]) for text, answer in planted_rows(600)]
    said = init(tmp_path / "mine", write(tmp_path / "coded.csv", ("body", "queue"), coded), "body", "queue")
    assert any("Some labels look like codes" in line and "ACC: account" in line for line in said)
    answer = load(tmp_path / "mine" / "params.yaml").tasks["queue"].answer
    assert answer.words == {code: label for label, code in queues.items()}


def test_lists_of_one_text_each_are_texts_and_of_one_label_each_are_labels():
    spans = guess([(f"span {i}",) for i in range(100)])
    assert (spans.format, spans.any_of) == ("text", True) and "lists of 1.0 texts" in spans.why
    labels = guess([(f"label {i % 4}",) for i in range(100)])
    assert (labels.format, labels.any_of) == ("label", False)
    several = guess([(f"label {i % 4}",) for i in range(100)], others=[("label 1", "label 2")])
    assert (several.format, several.any_of) == ("list", False)
    keywords = guess([(f"word {i}", f"other {i}") for i in range(100)])
    assert (keywords.format, keywords.any_of) == ("list", False)


def test_rows_without_any_right_answer_are_counted(tmp_path):
    file = tmp_path / "rows.jsonl"
    lists = [[] if i % 5 == 0 else [f"A right answer, number {i} of many."] for i in range(150)]
    file.write_text("".join(json.dumps({"text": f"text {i}", "references": a}) + "\n" for i, a in enumerate(lists)))
    lines = init(tmp_path / "ws", file)
    assert lines[0].startswith("120 rows in rows.jsonl") and "column references" in "".join(lines)
    assert load(tmp_path / "ws/params.yaml").ingest.max_rejected_share == 0.25


def test_answers_that_combine_items_are_lists_and_labels_with_commas_are_labels():
    draw = random.Random(3)
    tags = [", ".join(sorted(draw.sample(["bug", "ui", "api", "perf"], draw.choice([1, 2, 3])))) for _ in range(300)]
    assert (guess(tags).format, guess(tags).separator) == ("list", ",")
    assert guess(["Billing, payments", "Returns, exchanges", "Other"] * 50).format == "label"


def test_an_object_with_a_list_of_one_text_is_still_an_object(tmp_path):
    file = tmp_path / "rows.jsonl"
    rows = [
        {"body": f"mail {i}", "out": {"reason": [f"Because part {i} broke."], "code": f"c{i % 3}"}} for i in range(90)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    init(tmp_path / "ws", file, "body", "out")
    fields = load(tmp_path / "ws/params.yaml").tasks["out"].answer.fields
    assert {name: field.format for name, field in fields.items()} == {"reason": "text", "code": "label"}


@pytest.mark.parametrize(
    "names", [("-1", "0", "1"), ("None", "Low", "High"), ("NA", "EU", "APAC"), ("None", "Low", "Medium", "High")]
)
def test_a_word_for_nothing_that_is_as_frequent_as_the_labels_is_one(tmp_path, names):
    file = write(tmp_path / "rows.csv", ("body", "level"), [(f"mail {i}", names[i % len(names)]) for i in range(120)])
    lines = init(tmp_path / "ws", file, "body", "level")
    answer = load(tmp_path / "ws/params.yaml").tasks["level"].answer
    assert answer.no_value == () and lines[0].startswith("120 rows")
    assert len(set(answer.words.values())) == len(answer.words), "no two labels have the same words"


def test_an_end_marker_on_some_answers_is_stripped(tmp_path):
    rows = [(f"mail {i}", ["late", "lost"][i % 2] + ("<|im_end|>" if i % 3 else "")) for i in range(120)]
    init(tmp_path / "ws", write(tmp_path / "rows.csv", ("body", "queue"), rows), "body", "queue")
    answer = load(tmp_path / "ws/params.yaml").tasks["queue"].answer
    assert answer.strip == ("<|im_end|>",) and answer.format == "label"


def test_a_first_line_that_may_be_a_row_is_said_and_one_without_names_is_an_error(tmp_path):
    plain = write(
        tmp_path / "plain.csv", ("billing", "mail 0"), [(["late", "billing"][i % 2], f"mail {i}") for i in range(90)]
    )
    assert any(
        "the first line looks like a row (its column has 'billing'" in line for line in init(tmp_path / "a", plain)
    )
    assert not load(tmp_path / "a/params.yaml").ingest.sources[0].header
    init(tmp_path / "named", plain, "mail 0", "billing")
    assert load(tmp_path / "named/params.yaml").ingest.sources[0].header
    title = tmp_path / "title.csv"
    title.write_text("Ticket export,\n" + "".join(f"mail {i},{'ab'[i % 2]}\n" for i in range(90)))
    with pytest.raises(DataError, match="a column has no name"):
        init(tmp_path / "b", title)


@pytest.mark.parametrize(("name", "is_row"), [("2", True), ("queue", False), ("1", False)])
def test_a_number_in_the_first_line_is_a_row_unless_it_numbers_its_column(tmp_path, name, is_row):
    rows = [(f"mail number {i}", "12"[i % 2]) for i in range(90)]
    init(
        tmp_path / "ws",
        write(tmp_path / "rows.csv", ("mail", name), rows) if name != "1" else _numbered(tmp_path, rows),
    )
    assert load(tmp_path / "ws/params.yaml").ingest.sources[0].header != is_row


def _numbered(tmp_path, rows):
    return write(tmp_path / "rows.csv", ("0", "1"), [(text, f"q{label}") for text, label in rows])


def test_texts_that_say_nothing_are_reported(tmp_path):
    rows = [("NaN" if i % 10 == 0 else f"mail {i}", "ab"[i % 2]) for i in range(120)]
    lines = init(tmp_path / "ws", write(tmp_path / "rows.csv", ("body", "queue"), rows), "body", "queue")
    assert any("12 texts say only that there is none" in line for line in lines)


@pytest.mark.parametrize(
    ("folder", "column", "given", "task", "models"),
    [
        ("mine", "queue", None, "queue", "mine-{task}"),
        ("My Mails", "Answer", None, "my-mails", "{task}"),
        ("tickets", "Main topic", None, "main-topic", "tickets-{task}"),
        ("2024", "label", None, "answers", "workspace-{task}"),
        ("mine", "label", "spam", "spam", "mine-{task}"),
        ("null", "True", None, "answers", "workspace-{task}"),
        ("mails2", "Überblick", None, "uberblick", "mails2-{task}"),
    ],
)
def test_workspace_and_task_have_names_that_say_something(tmp_path, folder, column, given, task, models):
    file = tmp_path / "rows.csv"
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows([("body", column), *planted_rows(120)])
    init(tmp_path / folder, file, "body", column, task=given)
    settings = load(tmp_path / folder / "params.yaml")
    assert list(settings.tasks) == list(settings.bars) == [task] and settings.register_.models == models


def test_an_answer_column_may_have_a_comma_in_its_name(tmp_path):
    file = write(tmp_path / "rows.csv", ("body", "queue, final"), planted_rows(120))
    init(tmp_path / "ws", file, answer="queue, final")
    task = load(tmp_path / "ws/params.yaml").tasks["queue-final"]
    assert task.answer.column == "queue, final" and "{body}" in task.prompt


@pytest.mark.parametrize("name", ["", "Spam", "a/b", "spam" * 20])
def test_a_name_that_a_task_can_not_have_is_an_error(tmp_path, name):
    with pytest.raises(SettingsError, match="--task"):
        init(tmp_path / "ws", tmp_path / "no-file.csv", "body", "queue", task=name)
    assert not (tmp_path / "ws").exists()


@pytest.mark.parametrize(
    ("labels", "is_label"), [(["none", "late", "lost", "torn"], True), (["None", "late", "lost", "torn"], False)]
)
def test_none_as_people_write_it_is_a_label_among_others(tmp_path, labels, is_label):
    rows = [(f"mail number {i}", labels[i % 4]) for i in range(200)]
    init(tmp_path / "ws", write(tmp_path / "rows.csv", ("body", "queue"), rows), "body", "queue")
    assert (load(tmp_path / "ws/params.yaml").tasks["queue"].answer.no_value == ()) == is_label


def test_numbers_as_labels_are_warned_of(tmp_path):
    rows = [(f"mail number {i}", f"{i % 9 / 2 + 0.2:.2f}") for i in range(200)]
    lines = init(tmp_path / "ws", write(tmp_path / "rows.csv", ("body", "score"), rows), "body", "score")
    assert any("the answers are numbers, and each is taken for a label" in line for line in lines)
