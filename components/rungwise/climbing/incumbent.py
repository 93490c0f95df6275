"""The incumbent, what the user has today: asked the validation rows once, and compared with rungs in pairs.

It is a line to compare with. It is not a rung, nothing promotes it, and no decision reads its answers, so that they lie
outside the DVC graph: in data/incumbent/<task>, and one by one in the store (see `endpoint.ask`).
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from rungwise.climbing.rungs import TaskClimb, form_of, task_climb
from rungwise.config import IncumbentSettings, PriceSettings, Settings
from rungwise.core.climb_reasons import IncumbentCompared, IncumbentOutcome
from rungwise.core.errors import Problem, SettingsError
from rungwise.core.folders import is_sealed, read_json, read_lines, write_folder, write_json, write_lines
from rungwise.core.progress import LineProgress
from rungwise.core.records import (
    AnswerForm,
    Example,
    Interval,
    Prediction,
    counted,
    digest,
    from_json,
    prediction_from_json,
    prediction_of,
    to_json,
    to_lines,
)
from rungwise.core.texts import number_of
from rungwise.core.words import money
from rungwise.dataset.redact import redactor
from rungwise.endpoint.answers import read_answer
from rungwise.endpoint.ask import Asked, Question, ask, cost_of, question
from rungwise.endpoint.client import REDIRECTS, Client, Completion
from rungwise.endpoint.messages import DEFAULT_EXAMPLES, messages, shown_examples
from rungwise.evidence.metrics import Metric, difference
from rungwise.workspace.layout import Paths, data_version, settings_of

SUMMARY, PREDICTIONS = "summary.json", "predictions.jsonl"
ADVICE: Final = {
    "no_connection": "it can't be reached: check that it runs, and `incumbent.url`",
    "timed_out": "it takes longer than `incumbent.timeout_seconds`",
    "http_401": "it refuses the key: check `incumbent.key_env`",
    "http_403": "it refuses the key: check `incumbent.key_env`",
    "http_404": "it does not know the model or the address: check `incumbent.model` and `incumbent.url`",
    "http_400": "it does not accept the request: check `incumbent.model` and `incumbent.request`",
    **dict.fromkeys(
        REDIRECTS, "it sends requests on to another address, which is not followed: correct `incumbent.url`"
    ),
    "http_429": "it receives too many requests: lower `incumbent.concurrency`",
    "no_completion": "its answers are not chat completions: check `incumbent.url`",
}
"""Code of a failure -> what it means and what to do. Other codes are shown as they are."""


@dataclass(frozen=True)
class Incumbent:
    """The incumbent's answers to a task's validation rows, in figures."""

    name: str
    """The model and its host."""
    rows: int
    """Validation rows that were to be asked, at most `incumbent.max_rows`."""
    unscored: Mapping[str, int]
    """Reason -> rows without an answer: a failure's code, `over_budget` or `not_asked`."""
    flaws: Mapping[str, int]
    """Code -> answers that do not have the task's form (see `endpoint.answers`). They are scored as wrong."""
    redacted: int
    """Rows that were sent with something redacted."""
    input_tokens: int
    output_tokens: int
    is_counted: bool
    """Whether the server counted all tokens; otherwise some are estimated."""
    median_seconds: float | None
    """Median time of an answer; None without answers."""
    answered_by: tuple[str, ...]
    """The model's names in the answers."""
    stopped: str
    """Why the asking ended early; empty if it did not."""
    inputs: str
    """Digest of the rows and settings."""

    @property
    def answered(self) -> int:
        """The number of answers."""
        return self.rows - sum(self.unscored.values())

    def cost_per_1000(self, price: PriceSettings | None) -> float | None:
        """Returns what 1,000 answers cost; None without prices or answers."""
        if price is None or not self.answered:
            return None
        return 1000 * cost_of(price, self.input_tokens, self.output_tokens) / self.answered


def ask_incumbent(root: Path) -> dict[str, Incumbent]:
    """Asks the incumbent about the validation rows of every task, unless the store has the answers.

    Writes the answers to data/incumbent and returns task -> figures. The caller holds the workspace's lock.

    Raises:
        SettingsError: the section `incumbent`, its consent or its key is missing.
        WorkspaceError: the rows are not prepared yet, or an answer can't be stored.
    """
    settings = settings_of(root)
    if settings.incumbent is None:
        wanted, do = "{url: ..., model: ..., consent: true}", "see docs/howto/incumbent.md"
        raise SettingsError(
            Problem("params.yaml does not name an incumbent", where="params.yaml: incumbent", wanted=wanted, do=do)
        )
    spent, result = 0.0, {}
    for name in settings.tasks:
        climb = task_climb(root, settings, name)
        result[name], cost = _asked(climb, settings.incumbent, spent)
        spent += cost
    return result


def _asked(climb: TaskClimb, settings: IncumbentSettings, spent: float) -> tuple[Incumbent, float]:
    """Writes one task's answers; returns their figures and cost."""
    examples = _examples(climb, settings)
    rows, questions, redacted = _questions(climb, settings, examples)

    def connect() -> Client:
        more = f" and {number_of(len(examples), 'training row')}" if examples else ""
        return Client(settings, "incumbent", f"validation rows{more}")

    asked = ask(
        settings,
        questions,
        Paths(climb.root).attempts,
        connect,
        LineProgress(f"incumbent {climb.name}"),
        spent=spent,
    )
    predictions, flaws = _predictions(form_of(climb.task, climb.labels), rows, asked)
    answers = list(asked.answers.values())
    one = Incumbent(
        name=_name(settings),
        rows=len(rows),
        unscored=counted(asked.missing.values()),
        flaws=counted(flaws),
        redacted=redacted,
        input_tokens=sum(a.input_tokens for a in answers),
        output_tokens=sum(a.output_tokens for a in answers),
        is_counted=all(a.is_counted for a in answers),
        median_seconds=round(statistics.median(a.seconds for a in answers), 6) if answers else None,
        answered_by=tuple(sorted({a.model for a in answers if a.model})),
        stopped=_why(asked),
        inputs=_inputs(climb.root, climb.settings, climb.name),
    )

    def write(part: Path) -> None:
        write_lines(part / PREDICTIONS, to_lines(predictions))
        write_json(part / SUMMARY, to_json(one))

    folder = Paths(climb.root).incumbent
    folder.mkdir(parents=True, exist_ok=True)
    write_lines(folder / ".gitignore", "*\n")  # holds answers about rows; an older workspace does not ignore it
    write_folder(folder / climb.name, write)
    return one, asked.cost


def _examples(climb: TaskClimb, settings: IncumbentSettings) -> tuple[Example, ...]:
    """Returns the training rows that come before each row."""
    if climb.name in settings.prompts:
        return ()
    default = DEFAULT_EXAMPLES if climb.task.answer.format != "label" else 0
    return shown_examples(climb.train, default if settings.examples is None else settings.examples)


def _questions(
    climb: TaskClimb, settings: IncumbentSettings, examples: Sequence[Example]
) -> tuple[list[Example], list[Question], int]:
    """Returns the rows, the question about each, and how many of them have something redacted."""
    own = settings.prompts.get(climb.name)
    form = form_of(climb.task, climb.labels)
    redact = redactor(("email", "phone", "card"), climb.settings.ingest.region)
    rows = sorted(climb.dev, key=lambda e: digest(e.id))[: settings.max_rows]
    prompt = own or climb.task.prompt
    questions = [
        question(settings, row.id, messages(prompt, form, examples, row, redact, is_own=own is not None))
        for row in rows
    ]
    redacted = sum(any(redact(text) != text for text in row.fields.values()) for row in rows)
    return rows, questions, redacted


def _predictions(form: AnswerForm, rows: Sequence[Example], asked: Asked) -> tuple[list[Prediction], list[str]]:
    """Returns a prediction for each row, and the codes of the answers that do not have the form."""
    predictions, flaws = [], []
    for row in rows:
        answer = asked.answers.get(row.id)
        if answer is None:
            predictions.append(prediction_of(row, None, unscored=asked.missing[row.id]))
            continue
        text, flaw = read_answer(form, answer.content or "")
        flaws += [flaw] if flaw else []
        predictions.append(prediction_of(row, text, is_cut=_is_cut(answer)))
    return predictions, flaws


def _is_cut(answer: Completion) -> bool:
    return answer.finish == "length"


def _name(settings: IncumbentSettings) -> str:
    return f"{settings.model} at {urlsplit(settings.url).netloc}"


def _why(asked: Asked) -> str:
    """Returns why the asking ended early; empty if it did not."""
    if asked.stopped is None:
        return ""
    code, detail = asked.stopped.code, asked.stopped.detail
    return f"{code}{f' ({detail})' if detail else ''}: {ADVICE.get(code, 'see its own log')}"


def _inputs(root: Path, settings: Settings, task: str) -> str:
    """Returns the digest of everything that decides what is asked."""
    one = settings.incumbent
    assert one is not None  # as the caller checked
    kept = one.model_dump(include={"url", "model", "examples", "max_rows", "max_tokens_per_answer", "temperature"})
    decides: dict[str, Any] = {
        **kept,
        "request": one.request,
        "prompt": one.prompts.get(task),
        "task": settings.tasks[task].model_dump(mode="json"),
        "region": settings.ingest.region,
        "data": data_version(root),
    }
    return digest(decides)


def read_incumbent(root: Path, settings: Settings, task: str) -> tuple[Incumbent, tuple[Prediction, ...]] | None:
    """Returns the incumbent's figures and answers for a task; None if it was not asked about today's rows."""
    folder = Paths(root).incumbent / task
    if settings.incumbent is None or not is_sealed(folder):
        return None
    one = from_json(Incumbent, read_json(folder / SUMMARY))
    if one.inputs != _inputs(root, settings, task):
        return None
    return one, tuple(prediction_from_json(line) for line in read_lines(folder / PREDICTIONS))


def compare_incumbent(
    metric: Metric,
    margin: float,
    confidence: float,
    rung: str,
    ours: Sequence[Prediction],
    incumbent: str,
    theirs: Sequence[Prediction],
) -> IncumbentCompared:
    """Returns how a rung compares with the incumbent on the rows that the incumbent answered.

    Rows that it did not answer are left out: most were not asked, because a budget or a deadline ended.

    As good means not inferior: the lower end of the paired difference is above minus the margin.
    """
    change = difference(metric, ours, [p for p in theirs if p.answer is not None], confidence)
    return IncumbentCompared(rung, incumbent, change, margin, _outcome(change, margin))


def _outcome(change: Interval | None, margin: float) -> IncumbentOutcome:
    if change is None:
        return "nothing_in_common"
    if change.low > 0:
        return "better"
    if change.low >= -margin:
        return "as_good"
    return "worse" if change.high < 0 else "not_shown"


def incumbent_lines(found: Mapping[str, Incumbent], price: PriceSettings | None) -> list[str]:
    """Returns what the incumbent answered, one line for each task."""
    return [f"{task}: {_line(one, price)}" for task, one in found.items()]


def _line(one: Incumbent, price: PriceSettings | None) -> str:
    why = ", ".join(f"{reason}: {n}" for reason, n in one.unscored.items())
    parts = [f"{one.name} answered {one.answered} of {one.rows} validation rows{f' ({why})' if why else ''}"]
    if one.stopped:
        parts.append(f"warning: asking ended early, {one.stopped}")
    if one.flaws:
        flaws = ", ".join(f"{code}: {n}" for code, n in one.flaws.items())
        parts.append(f"answers without the task's form, which count as wrong: {flaws}")
    if one.redacted:
        parts.append(f"{number_of(one.redacted, 'row', 'was', 'were')} redacted")
    cost = one.cost_per_1000(price)
    if price and cost is not None:
        about = "" if one.is_counted else "about "
        whole = money(cost * one.answered / 1000, price.currency)
        parts.append(f"{about}{whole} in all, {about}{money(cost, price.currency)} for 1,000 answers")
    if one.median_seconds is not None:
        parts.append(f"median {1000 * one.median_seconds:.0f} ms an answer")
    return "; ".join(parts) + "."
