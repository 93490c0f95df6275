from collections import Counter
from dataclasses import replace

from rungwise.config import AnswerSettings, AugmentSettings, TaskSettings
from rungwise.dataset.augment import augment
from tests.conftest import examples

TASK = TaskSettings(prompt="{body} Queue:", answer=AnswerSettings(column="queue"))
TEMPLATES = ("Hi, {body}", "{body} Thanks.")


def test_rare_labels_are_filled_up_from_training_rows_alone():
    train, held = examples(100), examples(20, seed=5)
    counts = Counter(e.answer for e in train)
    result = augment(AugmentSettings(templates=TEMPLATES, per_label=30), TASK, train, held, seed=1)
    assert result.train[:100] == tuple(train)
    children = result.train[100:]
    assert children and all(e.is_synthetic and set(e.parents) <= {r.id for r in train} for e in children)
    after = Counter(e.answer for e in result.train)
    assert all(after[label] == max(30, n) for label, n in counts.items())
    by_id = {e.id: e for e in train}
    assert all(e.group == by_id[e.parents[0]].group and e.answer == by_id[e.parents[0]].answer for e in children)


def test_equal_seeds_give_equal_children_and_others_differ():
    settings = AugmentSettings(templates=TEMPLATES, per_label=30)
    assert augment(settings, TASK, examples(100), [], seed=1) == augment(settings, TASK, examples(100), [], seed=1)
    assert augment(settings, TASK, examples(100), [], seed=1) != augment(settings, TASK, examples(100), [], seed=2)


def test_the_share_of_synthetic_rows_is_limited():
    result = augment(AugmentSettings(templates=TEMPLATES, per_label=999, max_share=0.2), TASK, examples(80), [], seed=1)
    assert len(result.train) == 100


def test_a_child_that_equals_a_held_out_row_is_dropped_and_counted():
    parent = examples(1)[0]
    twin = replace(parent, id="dev", fields={"body": "HI,  " + parent.fields["body"]})
    settings = AugmentSettings(templates=("Hi, {body}",), per_label=9, max_share=0.9)
    result = augment(settings, TASK, [parent], [twin], seed=1)
    assert result.train == (parent,) and [r.reason for r in result.rejections] == ["leak_exact"]


def test_without_templates_nothing_is_made():
    assert augment(AugmentSettings(), TASK, examples(10), [], seed=1).train == tuple(examples(10))


def test_wordings_are_combined_and_braces_stay_text():
    settings = AugmentSettings(
        templates=("{greeting} {body} {{x}} {end}",),
        wordings={"greeting": ("Hi", "{Hey}"), "end": ("Bye",)},
        per_label=9,
        max_share=0.9,
    )
    parent = examples(1)[0]
    texts = {e.fields["body"] for e in augment(settings, TASK, [parent], [], seed=1).train[1:]}
    assert texts == {f"Hi {parent.fields['body']} {{x}} Bye", f"{{Hey}} {parent.fields['body']} {{x}} Bye"}


def test_a_label_may_have_its_own_target():
    train = examples(60)
    counts = Counter(e.answer for e in train)
    settings = AugmentSettings(templates=TEMPLATES, targets={"billing": counts["billing"] + 5})
    after = Counter(e.answer for e in augment(settings, TASK, train, [], seed=1).train)
    assert after["billing"] == counts["billing"] + 5 and after["repair"] == counts["repair"]


def test_a_child_that_contains_a_held_out_row_is_replaced_by_another():
    parents = [
        replace(e, answer="a", fields={"body": text})
        for e, text in zip(examples(2), ("my parcel was lost in the snow", "where can I pay the bill"), strict=True)
    ]
    held_out = replace(parents[0], id="test", fields={"body": "My parcel was lost in the snow!"})
    settings = AugmentSettings(templates=TEMPLATES, per_label=4, max_share=0.9)
    result = augment(settings, TASK, parents, [held_out], seed=1)
    assert [e.parents for e in result.train[2:]] == [(parents[1].id,)] * 2
    assert [r.reason for r in result.rejections] == ["leak_contained"] * 2


def test_synthetic_rows_are_not_parents_and_count_towards_the_share():
    train = [*examples(8), *(replace(e, id=f"made-{e.id}", parents=("row-0",)) for e in examples(4, seed=9))]
    result = augment(AugmentSettings(templates=TEMPLATES, per_label=99, max_share=0.5), TASK, train, [], seed=1)
    assert sum(e.is_synthetic for e in result.train) == 8
    assert all(not p.startswith("made") for e in result.train for p in e.parents)


def test_slices_of_a_slot_are_filled_up_for_any_kind_of_answer():
    task = TaskSettings(prompt="{body} ({language}) Reply:", answer=AnswerSettings(column="reply", format="text"))
    languages = ["de", "en", "en", "en"]
    train = [
        replace(e, answer=f"Reply {i}", fields={**e.fields, "language": languages[i % 4]})
        for i, e in enumerate(examples(40))
    ]
    settings = AugmentSettings(
        templates=TEMPLATES, field="body", slice="language", per_label=14, targets={"en": 32}, max_share=0.9
    )
    made = augment(settings, task, train, [], seed=1).train
    assert Counter(e.fields["language"] for e in made) == {"de": 14, "en": 32}
    by_id = {e.id: e for e in train}
    assert all(e.answer == by_id[e.parents[0]].answer for e in made[40:])
    assert augment(replace_slice(settings, None), task, train, [], seed=1).train == tuple(train)


def replace_slice(settings, slot):
    return settings.model_copy(update={"slice": slot})
