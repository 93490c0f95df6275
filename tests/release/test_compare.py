"""Two versions are compared by labels of rows on which their answers differ."""

import csv
import json
import random

import pytest
from scipy.stats import binom

from rungwise import Workspace
from rungwise.cli import main as cli
from rungwise.core.errors import RegistryError, RungwiseError
from rungwise.core.recipes import STAGES
from rungwise.core.records import AnswerForm, Prediction
from rungwise.evidence.metrics import Metric
from rungwise.pipeline.stages import run_stage
from rungwise.release import compare
from rungwise.release.compare import judge_labels, rows_to_win, write_differing
from rungwise.release.promote import promote
from rungwise.release.register import register
from tests.conftest import planted_rows, sided_rows, write_sided


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A workspace whose version 1, the champion, learned wrong labels too, and version 2, the challenger, did not."""
    root = write_sided(
        tmp_path_factory.mktemp("two") / "ws",
        [*sided_rows(60, "train", wrong=0.75), *sided_rows(60, "dev"), *sided_rows(60, "test")],
        target=0.3,
    )
    for verb in STAGES:
        run_stage(root, verb)
    register(root, "route")
    promote(root, "route")
    rows = [*sided_rows(200, "train"), *sided_rows(60, "dev"), *sided_rows(60, "test")]
    raw = root / "data/raw/tickets.csv"
    raw.write_text("\n".join(["body,queue,side", *(",".join(row) for row in rows)]) + "\n")
    for verb in STAGES:
        run_stage(root, verb)
    assert register(root, "route").version == 2
    draw = random.Random(4)
    texts = [f"{text} {draw.randrange(10_000)}" for text, _ in planted_rows(200, seed=8)]
    (root / "pool.jsonl").write_text("".join(json.dumps({"body": text}) + "\n" for text in texts))
    return root


def right(text):
    return {"parcel": "delivery", "refund": "billing", "broken": "repair", "login": "account"}[
        next(word for word in text.split() if word in ("parcel", "refund", "broken", "login"))
    ]


def filled(path, answer):
    """Fills the answers of a file as a person would."""
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["body", "answer"])
        writer.writeheader()
        writer.writerows([{"body": row["body"], "answer": answer(row["body"])} for row in rows])
    return rows


def test_labels_of_rows_that_differ_show_which_version_is_better(two, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(two)
    to = tmp_path / "labels.csv"
    command = ["compare", "route", "--rows", "pool.jsonl", "--label", "30", "--to", str(to)]
    assert cli.main(command) == 0
    said = capsys.readouterr().out
    assert "route: versions 2 and 1 differ on" in said and "of 200 rows" in said and "30 rows of these" in said
    rows = filled(to, right)
    assert len(rows) == 30 and {tuple(row) for row in rows} == {("body", "answer")}
    assert {row["answer"] for row in rows} == {""}, "the answers of the two are not shown"
    assert cli.main(["compare", "route", "--labels", str(to)]) == 0
    assert "route: version 2 is better than version 1." in capsys.readouterr().out
    assert cli.main(["compare", "route", "champion", "challenger", "--labels", str(to), "--json"]) == 0
    judged = json.loads(capsys.readouterr().out)
    assert judged["outcome"] == "second" and judged["lost"] > judged["won"] and judged["p"] <= 0.05
    assert judged["rows"] == 30 and judged["would_show"] == rows_to_win(judged["won"] + judged["lost"])


def test_the_same_rows_are_drawn_again_and_never_those_of_the_training_rows(two, tmp_path):
    trained = (two / "data/raw/tickets.csv").read_text().splitlines()[1].split(",")[0]
    pool = tmp_path / "pool.csv"
    lines = [json.loads(line)["body"] for line in (two / "pool.jsonl").read_text().splitlines()]
    pool.write_text("\n".join(["body", trained, lines[0], *lines, '" "']) + "\n")
    names = ["challenger", "champion"]
    one = write_differing(two, "route", names, pool, 20, tmp_path / "one.csv")
    assert one.left_out == {"trained_on": 1, "repeated": 1, "no_text": 1} and one.rows == 200
    workspace = Workspace(two)
    assert workspace.write_differing("route", two / "pool.jsonl", tmp_path / "two.csv", n=20, versions=("2", "1"))
    assert (tmp_path / "one.csv").read_text() == (tmp_path / "two.csv").read_text()


def test_labels_by_lot_show_nothing_and_say_what_would(two, tmp_path, capsys, monkeypatch):
    to = tmp_path / "labels.csv"
    write_differing(two, "route", ["2", "1"], two / "pool.jsonl", 4, to)
    filled(to, right)
    assert Workspace(two).judge_labels("route", to).would_show == 4
    draw = random.Random(1)
    filled(to, lambda text: draw.choice(["billing", "repair", "account", "delivery"]))
    monkeypatch.chdir(two)
    assert cli.main(["compare", "route", "2", "1", "--labels", str(to)]) == 0
    said = capsys.readouterr().out
    assert "the labels show no difference between versions 2 and 1" in said
    assert "label more" in said or "one has to be better on" in said


@pytest.mark.parametrize("n", [5, 10, 37, 100, 401])
def test_the_rows_that_one_version_has_to_win_are_those_of_the_sign_test(n):
    won = rows_to_win(n)

    def mid_p(k):
        return binom.sf(k, n, 0.5) + binom.pmf(k, n, 0.5) / 2

    assert mid_p(won) <= 0.05 < mid_p(won - 1)


def test_too_few_rows_can_show_nothing():
    assert rows_to_win(0) is None and rows_to_win(3) is None and rows_to_win(4) == 4


def test_what_can_not_be_compared_is_an_error_that_says_what_to_do(two, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(two)
    same = tmp_path / "same.csv"
    same.write_text("body\n" + json.loads((two / "pool.jsonl").read_text().splitlines()[0])["body"] + "\n")
    there, wrong, empty = tmp_path / "there.csv", tmp_path / "wrong.csv", tmp_path / "empty.csv"
    there.write_text("")
    wrong.write_text("body,answer\nmy parcel,parcels\n")
    empty.write_text("body,answer\nmy parcel,\n")
    other = tmp_path / "other.csv"
    other.write_text("text\nmy parcel\n")
    for command, words in (
        (["2"], "two versions are compared"),
        (["2", "1"], "there is nothing to compare"),
        (["2", "1", "--rows", "pool.jsonl", "--labels", str(wrong)], "both --rows and --labels are given"),
        (["2", "2", "--rows", "pool.jsonl"], "a version is compared with itself"),
        (["2", "7", "--rows", "pool.jsonl"], "the version does not exist"),
        (["2", "1", "--rows", "pool.jsonl", "--to", str(there)], "the file for labels is there already"),
        (["2", "1", "--labels", str(wrong)], "an answer is not one of the task's labels"),
        (["2", "1", "--labels", str(empty)], "no row has an answer"),
        (["2", "1", "--rows", str(other)], "body"),
        (["2", "1", "--rows", str(tmp_path / "none.csv")], "none.csv"),
    ):
        assert cli.main(["compare", "route", *command]) == 2, command
        assert words in capsys.readouterr().err, command
    params = two / "params.yaml"
    text = params.read_text()
    try:
        params.write_text(text.replace("{column: queue}", "{column: queue, format: text}"))
        with pytest.raises(RungwiseError, match="versions that write texts"):
            write_differing(two, "route", ["2", "1"], two / "pool.jsonl", 4, tmp_path / "x.csv")
    finally:
        params.write_text(text)
    with pytest.raises(RegistryError, match="the version does not exist"):
        judge_labels(two, "route", ["champion", "best"], wrong)


def test_two_versions_that_answer_alike_have_no_rows_to_label(two, tmp_path, monkeypatch):
    def alike(root, version, examples):
        return tuple(Prediction(one.id, one.group, one.answer, "billing", 0.9) for one in examples)

    monkeypatch.setattr(compare, "_judged", alike)
    with pytest.raises(RungwiseError, match="answer every row alike"):
        write_differing(two, "route", ["2", "1"], two / "pool.jsonl", 5, tmp_path / "to.csv")
    assert not (tmp_path / "to.csv").exists()


@pytest.mark.parametrize(
    ("measure", "form", "first", "second", "differ"),
    [
        ("set_f1", AnswerForm("list", separator=";"), "a; b", "b;a", False),
        ("set_f1", AnswerForm("list", separator=";"), "a", "a; b", True),
        ("fields", AnswerForm("json", fields={"x": AnswerForm("text")}), '{"x": "1"}', '{"x":  "1"}', False),
        ("fields", AnswerForm("json", fields={"x": AnswerForm("text")}), '{"x": "1"}', '{"x": "2"}', True),
        ("accuracy", AnswerForm("label", ("a", "b")), "a", None, True),
        ("accuracy", AnswerForm("label", ("a", "b")), None, None, False),
    ],
)
def test_answers_differ_if_one_could_not_be_right_where_the_other_is(measure, form, first, second, differ):
    pair = [Prediction("1", "g", "", answer, 0.9) for answer in (first, second)]
    assert compare._differ(Metric(measure, form), *pair) == differ
