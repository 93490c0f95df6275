"""Rows in scripts without spaces, from right to left and with marks go the whole path."""

import csv
import itertools
import random

import pytest

from rungwise.climbing.ladder import last_climb
from rungwise.config import DuplicateSettings, SplitSettings, ValidateSettings
from rungwise.config.ladder import AnswerSettings, TaskSettings
from rungwise.core.recipes import STAGES
from rungwise.core.records import Example
from rungwise.core.table import Table
from rungwise.dataset.duplicates import deduplicate
from rungwise.dataset.expectations import run_suite
from rungwise.dataset.similar import copies
from rungwise.dataset.split import split
from rungwise.dataset.suspects import suspects
from rungwise.init.init import init
from rungwise.pipeline.stages import run_stage
from rungwise.release.champion import answer
from rungwise.release.promote import promote
from rungwise.release.register import register

PARTS = {
    "chinese": (
        ["你好，", "请问", "打扰了，", "您好！"],
        {
            "delivery": ["我的{}还没有到", "{}的快递停在半路", "送货员没有来送{}"],
            "returns": ["我想退回{}", "{}不合适，可以换吗", "怎么把{}寄回去"],
        },
        ["帐篷", "睡袋", "背包", "雨衣", "炉子", "手套", "水壶", "头灯"],
        ["谢谢。", "请尽快回复。", "祝好。", "麻烦了。"],
    ),
    "japanese": (
        ["こんにちは。", "すみません、", "お世話になります。", "はじめまして。"],
        {
            "delivery": ["{}がまだ届いていません", "{}の配達が遅れています", "{}の荷物はどこですか"],
            "returns": ["{}を返品したいです", "{}のサイズが合いません", "{}を返す方法を教えてください"],
        },
        ["テント", "寝袋", "リュック", "雨具", "ストーブ", "手袋", "水筒", "ヘッドライト"],
        ["お願いします。", "ありがとう。", "お返事ください。", "よろしく。"],
    ),
    "thai": (
        ["สวัสดีครับ ", "สวัสดีค่ะ ", "ขอโทษนะ ", "เรียนร้าน "],
        {
            "delivery": ["{}ยังไม่มาถึง", "พัสดุ{}ล่าช้า", "คนส่งไม่ได้เอา{}มา"],
            "returns": ["อยากคืน{}", "{}ขนาดไม่พอดี", "จะส่ง{}กลับได้อย่างไร"],
        },
        ["เต็นท์", "ถุงนอน", "เป้", "เสื้อกันฝน", "เตา", "ถุงมือ", "กระติก", "ไฟฉาย"],
        ["ขอบคุณ", "รบกวนตอบด้วย", "ด้วยความนับถือ", "รอคำตอบ"],
    ),
    "arabic": (
        ["مرحبا، ", "السلام عليكم، ", "عذرا، ", "تحية طيبة، "],
        {
            "delivery": ["لم تصل {} بعد", "تأخر طرد {}", "لم يحضر السائق {}"],
            "returns": ["أريد إرجاع {}", "مقاس {} غير مناسب", "كيف أعيد {} إليكم"],
        },
        ["الخيمة", "الحقيبة", "السترة", "الموقد", "القفازات", "المصباح", "الحذاء", "الزجاجة"],
        ["شكرا", "أرجو الرد", "مع التحية", "أنتظر جوابكم"],
    ),
    "german": (
        ["Hallo, ", "Guten Tag, ", "Grüß Gott, ", "Moin, "],
        {
            "delivery": ["{} ist noch nicht da", "das Päckchen mit {} hängt fest", "der Bote brachte {} nicht"],
            "returns": ["ich möchte {} zurückgeben", "{} passt nicht", "wie schicke ich {} zurück"],
        },
        ["Zelt", "Schlafsack", "Rucksack", "Jäckchen", "Kocher", "Handschuhe", "Flasche", "Lampe"],
        ["Danke", "Bitte um Antwort", "Schöne Grüße", "Bis bald"],
    ),
}
TASK = TaskSettings(prompt="{body}", answer=AnswerSettings(column="queue"))


def rows_in(language, copies=2):
    """Returns rows of two labels; every problem (a wording and a product) is a lineage group with that many rows."""
    openings, wordings, things, closings = PARTS[language]
    draw = random.Random(3)
    made: list[Example] = []
    for label, texts in wordings.items():
        for wording, thing in itertools.product(texts, things):
            for _ in range(copies):
                text = f"{draw.choice(openings)}{wording.format(thing)}，{draw.choice(closings)}"
                made.append(
                    Example(f"r{len(made)}", {"body": text}, label, "mails", len(made) + 1, f"{wording}{thing}")
                )
    return made


@pytest.mark.parametrize("language", PARTS)
def test_rows_go_from_ingest_to_the_split(language):
    rows = rows_in(language)
    planted = Example("again", {"body": rows[0].fields["body"] + "\u3000"}, rows[0].answer, "mails", 999, rows[0].group)
    pairs = deduplicate(DuplicateSettings(), Table.of([*rows, planted]), is_closed=True).duplicates
    assert "again" in {i for one in pairs for i in (one.id, one.other)}
    checks, _ = run_suite(ValidateSettings(min_rows=20), TASK, Table.of(rows))
    assert all(check.success for check in checks)
    sides = split(SplitSettings(dev=0.25, test=0.25, leaks="exact"), rows)
    assert len(sides.train) > 20 and len(sides.dev) > 5 and len(sides.test) > 5
    assert not {*sides.train.group} & {*sides.dev.group, *sides.test.group}


@pytest.mark.parametrize("language", PARTS)
def test_copies_across_sides_are_found_and_other_texts_are_not(language):
    openings, wordings, things, closings = PARTS[language]
    text = f"{openings[0]}{wordings['delivery'][0].format(things[0])}，{closings[0]}"
    other = f"{openings[1]}{wordings['returns'][1].format(things[3])}，{closings[2]}"
    assert [(pair.left, pair.right) for pair in copies([text + "！！"], [other, text])] == [(0, 1)]
    assert not copies([text], [other])


@pytest.mark.parametrize("language", PARTS)
def test_wrong_labels_are_suspected_in_every_language(language):
    rows = rows_in(language)
    wrong = Example("wrong", rows[0].fields, "returns", "mails", 99, "w")
    copies_of_first = [Example(f"c{i}", rows[0].fields, "delivery", "mails", i, "c") for i in range(4)]
    assert "wrong" in {one.id for one in suspects(Table.of([*rows, *copies_of_first, wrong]))}


@pytest.mark.parametrize(
    "language", ["chinese", *(pytest.param(name, marks=pytest.mark.slow) for name in [*PARTS][1:])]
)
def test_a_file_of_rows_becomes_a_champion_that_answers(tmp_path, language):
    rows = rows_in(language, copies=8)
    file, root = tmp_path / "mails.csv", tmp_path / "shop"
    with file.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("body", "queue"), *((row.fields["body"], row.answer) for row in rows)])
    init(root, file, "body", "queue", bases=["pocket-s"])
    params = root / "params.yaml"
    text = params.read_text(encoding="utf-8").replace("steps: 100", "steps: 3").replace("queue: 0.9 ", "queue: 0.99 ")
    params.write_text(text.replace("validate: {}", "validate: {min_rows: 40}"), encoding="utf-8")
    for verb in STAGES:
        run_stage(root, verb)
    scores = {one.rung: one for one in last_climb(root, "queue").evidence}
    assert {"classical", "prompt", "pocket-s"} <= set(scores), "no rung shows a bar of 0.99 on so few rows"
    assert all(one.score and not one.unscored for one in scores.values())
    assert scores["classical"].score.value > 0.9
    params.write_text(params.read_text(encoding="utf-8").replace("queue: 0.99 ", "queue: 0.6 "), encoding="utf-8")
    run_stage(root, "climb")
    assert register(root, "queue").rung == "classical"
    assert promote(root, "queue").action == "promote"
    assert answer(root, "queue", {}, rows[0].fields["body"]).answer == rows[0].answer
