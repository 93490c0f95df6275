"""A generator that runs a base model on this machine: the model continues a list of texts."""

from pathlib import Path
from typing import Final

from rungwise.config import GenerateSettings
from rungwise.core.records import Base
from rungwise.generate.queries import Query, Reply
from rungwise.model.language_model import load

SEPARATOR: Final = "\n###\n"
"""Separates the texts in the prompt and in the answer."""


class LocalModel:
    """Continues a list of texts with any base model; see `Generator`."""

    concurrency = 1

    def __init__(self, settings: GenerateSettings, field: str, base: Base, root: Path) -> None:
        """Loads the base.

        Raises:
            ModelError: the base can't be loaded.
        """
        self.name, self._settings, self._field = str(base), settings, field
        self._lm = load(base, root)

    def __call__(self, query: Query) -> Reply:
        """Returns up to `query.n_texts` texts, sampled with the query's seed."""
        import torch

        examples = [e.fields[self._field].replace(SEPARATOR.strip(), " ") for e in query.examples]
        text = f"{query.label}:\n" + SEPARATOR.join(examples) + SEPARATOR
        ids = list(self._lm.prefix) + self._lm.tokenizer.encode(text, add_special_tokens=False)
        free_tokens = self._lm.context_tokens - len(ids)
        if free_tokens < 8:
            return Reply((), "over_context")
        tokens = torch.tensor([ids] * query.n_texts, device=self._lm.device)
        torch.manual_seed(query.seed)
        with torch.no_grad():
            written = self._lm.model.generate(
                tokens,
                attention_mask=torch.ones_like(tokens),
                do_sample=True,
                temperature=self._settings.temperature,
                top_p=0.95,
                max_new_tokens=min(free_tokens, self._settings.max_characters // 2 + 8),
                pad_token_id=self._lm.end,
                eos_token_id=sorted(self._lm.ends),
            )
        texts = [self._lm.tokenizer.decode(row[len(ids) :], skip_special_tokens=True) for row in written]
        return Reply(tuple(t.partition(SEPARATOR.strip())[0].strip() for t in texts))
