"""A generator on this machine: a base that continues a list of texts."""

from pathlib import Path

from rungwise.config import GenerateSettings
from rungwise.core.records import Base
from rungwise.generate.asks import Ask, Reply
from rungwise.model.language_model import load

MARK = "\n###\n"
"""Stands between the texts of a list."""


class LocalModel:
    """Continues a list of texts with a base of the ladder, or another; see `Generator`."""

    concurrency = 1

    def __init__(self, settings: GenerateSettings, field: str, base: Base, root: Path) -> None:
        """Loads the base; raises ModelError."""
        self.name, self._settings, self._field = str(base), settings, field
        self._lm = load(base, root)

    def __call__(self, ask: Ask) -> Reply:
        """Returns up to `ask.n` texts, drawn with the ask's seed."""
        import torch

        shown = [e.fields[self._field].replace(MARK.strip(), " ") for e in ask.shown]
        text = f"{ask.label}:\n" + MARK.join(shown) + MARK
        ids = list(self._lm.prefix) + self._lm.tokenizer.encode(text, add_special_tokens=False)
        room = self._lm.context_tokens - len(ids)
        if room < 8:
            return Reply((), "over_context")
        tokens = torch.tensor([ids] * ask.n, device=self._lm.device)
        torch.manual_seed(ask.seed)
        with torch.no_grad():
            written = self._lm.model.generate(
                tokens,
                attention_mask=torch.ones_like(tokens),
                do_sample=True,
                temperature=self._settings.temperature,
                top_p=0.95,
                max_new_tokens=min(room, self._settings.max_characters // 2 + 8),
                pad_token_id=self._lm.end,
                eos_token_id=self._lm.end,
            )
        texts = [self._lm.tokenizer.decode(row[len(ids) :], skip_special_tokens=True) for row in written]
        return Reply(tuple(t.partition(MARK.strip())[0].strip() for t in texts))
