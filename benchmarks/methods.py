"""Methods: ten ways to adapt a base on one task with the same steps, compared with LoRA.

`python -m benchmarks.methods --source FOLDER [--quick] [--write]`. FOLDER contains `datasets/bitext_support` and
`models/stories260k`. The task is the 27 intents of bitext_support. `--write` stores the picture too.
"""

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.real_data.__main__ import make_workspace
from benchmarks.report import RESULTS, Figure, machine, parser, publish

STEPS, TASK = 400, "intent"


def figures(detail: dict[str, Any]) -> dict[str, Figure]:
    """Returns each method's development score, with LoRA's as the peer."""
    scored = {trial["method"]: trial["score"]["value"] for trial in detail["trials"] if trial["score"]}
    return {
        f"{method}: dev {detail['metric']}": Figure(value, unit="share", peer=scored["lora"])
        for method, value in scored.items()
    }


def main() -> None:
    """Runs the benchmark."""
    from rungwise.climbing.trials import DEFAULT, compare
    from rungwise.core.records import to_json
    from rungwise.pipeline.stages import run_stage
    from rungwise.report.trials import picture, trials_text

    data = "datasets/bitext_support and models/stories260k"
    options = parser(__doc__, quick="lora and ia3 on snips, 2 steps each", needs_source=data).parse_args()
    name, methods, steps = ("snips", ("lora", "ia3"), 2) if options.quick else ("bitext_support", DEFAULT, STEPS)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary) / name
        make_workspace(root, name, options.source, quick=False)
        for verb in ("ingest", "validate", "split", "augment"):
            run_stage(root, verb)
        result = compare(root, TASK, methods, steps=steps)
    print(trials_text(result))
    if options.write and not options.quick:
        (RESULTS / "methods.svg").write_text(picture(result), encoding="utf-8")
    detail = to_json(result)
    publish("methods", figures(detail), detail, options, machine=machine())


if __name__ == "__main__":
    main()
