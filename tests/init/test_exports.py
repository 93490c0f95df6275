"""Rows as annotation tools export them: Label Studio, Prodigy and doccano.

The forms are those of https://labelstud.io/guide/task_format, https://labelstud.io/guide/export,
https://prodi.gy/docs/api-interfaces and doccano's own examples of its exports.
"""

import csv
import json

import pytest

from rungwise.core.errors import DataError
from rungwise.init.init import init

N = 60
LABELS = ("billing", "tech", "sales")


def text_of(n):
    return f"my {('invoice', 'router', 'offer')[n % 3]} number {n * 7} is {('late', 'wrong')[n % 2]}"


def labels_of(n):
    """One or two labels."""
    return [LABELS[n % 3], LABELS[(n + 1) % 3]] if n % 4 == 0 else [LABELS[n % 3]]


def result(name, kind, value):
    return {"from_name": name, "to_name": "text", "type": kind, "value": value, "id": "Dx_aB91ISN", "origin": "manual"}


def task(n, *results, cancelled=False, **more):
    """A task as Label Studio's JSON export has it."""
    annotation = {"id": 1000 + n, "completed_by": 1, "result": list(results), "was_cancelled": cancelled}
    annotation |= {"ground_truth": False, "lead_time": 4.3, "task": n}
    return {"id": n, "data": {"text": text_of(n)}, "annotations": [annotation], "predictions": [], "project": 8, **more}


def choices(n, labels, **more):
    return task(n, result("topic", "choices", {"choices": labels}), **more)


def minimal(n, **labels):
    """A row of Label Studio's JSON-MIN export."""
    times = {"created_at": f"2021-03-09T22:16:{n:02d}Z", "updated_at": f"2021-03-09T22:17:{n:02d}Z"}
    row = {"text": text_of(n), "id": n, **labels, "annotator": 1 + n % 2, "annotation_id": 1000 + n, **times}
    return {**row, "lead_time": 4 + n}


def prodigy(n, view, answer="accept", **more):
    keys = {"_input_hash": -n, "_task_hash": n + 7, "_view_id": view, "_timestamp": 1650000000 + n, "_session_id": None}
    return {"text": text_of(n), **more, **keys, "answer": answer}


def chosen(n, labels, answer="accept", style="multiple"):
    options = [{"id": label, "text": label.title()} for label in LABELS]
    return prodigy(n, "choice", answer, options=options, accept=labels, config={"choice_style": style})


def answers(rows):
    return [row["answer"] for row in rows]


def written(path, rows):
    path.write_text(json.dumps(rows, indent=1))
    return path


@pytest.mark.parametrize("named", [(), ("text", "topic")])
def test_label_studio_tasks_are_columns(ingested, tmp_path, named):
    tasks = [choices(n, [LABELS[n % 3]]) for n in range(N)]
    said, rows = ingested(written(tmp_path / "export.json", tasks), *named)
    assert [(row["fields"]["text"], row["answer"]) for row in rows] == [(text_of(n), LABELS[n % 3]) for n in range(N)]
    assert "Label Studio's tasks are read as columns" in said and "Format label" in said


def test_label_studio_tasks_with_several_labels_are_lists(ingested, tmp_path):
    _, rows = ingested(written(tmp_path / "export.json", [choices(n, labels_of(n)) for n in range(N)]))
    assert answers(rows) == ["; ".join(labels_of(n)) for n in range(N)]


def test_tasks_that_nobody_labelled_or_that_were_cancelled_are_counted(ingested, tmp_path):
    tasks = [choices(n, [LABELS[n % 3]]) for n in range(N)]
    tasks += [task(N, cancelled=True), choices(N + 1, ["tech"], cancelled=True), {**task(N + 2), "annotations": []}]
    said, rows = ingested(written(tmp_path / "export.json", tasks))
    assert len(rows) == N and "no_answer: 3 (first: line 61, column topic is empty)" in said


def test_of_several_annotations_the_ground_truth_is_read_and_the_others_are_said(ingested, tmp_path):
    tasks = [choices(n, [LABELS[n % 3]]) for n in range(N)]
    right = {**choices(0, ["sales"])["annotations"][0], "ground_truth": True}
    tasks[0]["annotations"].append(right)
    said, rows = ingested(written(tmp_path / "export.json", tasks))
    assert rows[0]["answer"] == "sales" and "1 task has several annotations: the ground truth is read" in said


def test_a_typed_answer_of_label_studio_is_a_text(ingested, tmp_path):
    tasks = [task(n, result("reply", "textarea", {"text": [f"Dear customer {n}, we sent it."]})) for n in range(N)]
    _, rows = ingested(written(tmp_path / "export.json", tasks))
    assert answers(rows) == [f"Dear customer {n}, we sent it." for n in range(N)]


def test_paths_into_label_studio_tasks_still_work(tmp_path):
    from rungwise.config import SourceSettings
    from rungwise.dataset.readers import Row, rows

    written(tmp_path / "export.json", [choices(1, ["tech"])])
    columns = {"text": "data.text", "label": "annotations[0].result[0].value.choices[0]"}
    source = SourceSettings(name="rows", path="export.json", columns=columns)
    (row,) = rows(source, tmp_path / "export.json", ("text", "label"))
    assert isinstance(row, Row) and row.values == {"text": text_of(1), "label": "tech"}


def test_label_studio_json_min_is_read_without_the_columns_of_the_tool(ingested, tmp_path):
    _, rows = ingested(written(tmp_path / "min.json", [minimal(n, sentiment=LABELS[n % 3]) for n in range(N)]))
    assert answers(rows) == [LABELS[n % 3] for n in range(N)]


@pytest.mark.parametrize("ending", ["json", "csv"])
def test_several_labels_of_json_min_and_csv_are_lists(ingested, tmp_path, ending):
    several = {n: {"choices": labels_of(n)} if n % 4 == 0 else labels_of(n)[0] for n in range(N)}
    path = tmp_path / f"min.{ending}"
    if ending == "json":
        written(path, [minimal(n, topics=several[n]) for n in range(N)])
    else:
        cells = {n: json.dumps(one) if isinstance(one, dict) else one for n, one in several.items()}
        with path.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, minimal(0, topics=""))
            writer.writeheader()
            writer.writerows(minimal(n, topics=cells[n]) for n in range(N))
    _, rows = ingested(path)
    assert answers(rows) == ["; ".join(labels_of(n)) for n in range(N)]


def test_prodigy_labels_stand_only_if_they_were_accepted(ingested):
    decisions = ["accept", "accept", "accept", "accept", "reject", "ignore"]
    rows = [prodigy(n, "classification", decisions[n % 6], label=LABELS[n % 3], spans=[]) for n in range(2 * N)]
    said, read = ingested(rows)
    assert answers(read) == [LABELS[n % 3] for n in range(2 * N) if n % 6 < 4]
    assert "A Prodigy export: a row whose `answer` is not accept has no label" in said
    assert "no_answer: 40 (first: line 5, Prodigy's `answer` is reject)" in said


@pytest.mark.parametrize("style", ["single", "multiple"])
def test_prodigy_choices_are_labels_or_lists(ingested, style):
    def labels(n):
        return labels_of(n) if style == "multiple" else labels_of(n)[:1]

    rows = [chosen(n, labels(n), style=style) for n in range(N)]
    rows += [chosen(N, ["tech"], "ignore", style), chosen(N + 1, [], style=style)]
    said, read = ingested(rows)
    assert answers(read)[:N] == ["; ".join(labels(n)) for n in range(N)]
    if style == "single":
        assert len(read) == N and "no_answer: 2" in said and "Format label: each answer is a list with one" in said
    else:
        assert answers(read)[N:] == [""] and "1 is empty, which is an answer" in said


def test_the_decisions_about_one_label_are_the_answers(ingested):
    rows = [prodigy(n, "classification", ("accept", "reject")[n % 2], label="urgent") for n in range(N)]
    said, read = ingested([*rows, prodigy(N, "classification", "ignore", label="urgent")])
    assert answers(read) == ["accept", "reject"] * (N // 2)
    assert "with one label: the answers are its decisions" in said and "no_answer: 1 (first: line 61" in said


def test_a_text_typed_into_prodigy_is_the_answer(ingested):
    rows = [prodigy(n, "text_input", user_input=f"Dear customer {n}, we sent it.") for n in range(N)]
    _, read = ingested([*rows, prodigy(N, "text_input", "ignore", user_input="no")])
    assert answers(read) == [f"Dear customer {n}, we sent it." for n in range(N)]


def test_lists_of_one_label_are_labels_and_one_with_more_is_rejected_later(ingested, tmp_path):
    rows = [{"id": n, "text": text_of(n), "label": [LABELS[n % 3]], "Comments": []} for n in range(N)]
    said, read = ingested(rows)
    assert answers(read) == [LABELS[n % 3] for n in range(N)] and "Format label" in said

    from rungwise.pipeline.stages import run_stage

    with (tmp_path / "ws/data/raw/rows.jsonl").open("a") as stream:
        stream.write(json.dumps({**rows[0], "label": ["tech", "sales"]}) + "\n")
    run_stage(tmp_path / "ws", "ingest")
    (rejection,) = map(json.loads, (tmp_path / "ws/data/ingest/task/rejections.jsonl").read_text().splitlines())
    assert rejection["reason"] == "several_labels" and "a list of 2 labels, wanted one" in rejection["detail"]


def test_an_empty_list_next_to_lists_of_one_label_may_be_a_missing_label(ingested):
    rows = [{"text": text_of(n), "label": [LABELS[n % 3]] if n % 6 else [], "Comments": []} for n in range(N)]
    said, read = ingested(rows)
    assert len(read) == N and "10 are empty, which is an answer (--answer COLUMN[0] if it is a missing label)" in said


def test_the_first_label_can_be_named_so_that_empty_lists_are_no_answers(ingested):
    rows = [{"text": text_of(n), "label": [LABELS[n % 3]] if n % 6 else [], "Comments": []} for n in range(N)]
    said, read = ingested(rows, "text", "label[0]")
    assert answers(read) == [LABELS[n % 3] for n in range(N) if n % 6] and "no_answer: 10" in said


@pytest.mark.parametrize(
    "row",
    [
        lambda n: {"text": text_of(n), "label": [[0, 2, "ORG"], [3, 4 + n % 5, "MISC"]], "Comments": []},
        lambda n: {"text": text_of(n), "entities": [{"id": 0, "start_offset": 0, "end_offset": 6 + n, "label": "A"}]},
        lambda n: task(n, result("label", "labels", {"start": 0, "end": 5 + n, "text": "my", "labels": ["ORG"]})),
        lambda n: prodigy(n, "ner_manual", spans=[{"start": 0, "end": 6 + n, "label": "ORG"}], tokens=[]),
    ],
)
def test_labels_of_parts_of_a_text_are_refused_with_what_to_do(tmp_path, row):
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row(n)) + "\n" for n in range(N)))
    with pytest.raises(DataError, match=r"(?s)the answers are places in the text.*write what they mark into a column"):
        init(tmp_path / "ws", tmp_path / "rows.jsonl")


def test_other_rows_with_data_and_annotations_are_read_as_they_are(ingested):
    rows = [{"text": text_of(n), "label": LABELS[n % 3], "data": {"a": 1}, "annotations": []} for n in range(N)]
    assert answers(ingested(rows)[1]) == [LABELS[n % 3] for n in range(N)]
