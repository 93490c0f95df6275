"""A spec for each method, small enough for the tests' bases, and two padded rows."""

import torch

from rungwise.core.methods import METHODS
from rungwise.core.records import AnswerForm, AttemptSpec, Base

FORM = AnswerForm("label", ("a", "b"))
SMALL = {"rank": 4, "tokens": 5, "layers": 1, "alpha": 8.0, "targets": ("all-linear",)}


def spec_of_method(folder, method, **more):
    own = {name: SMALL[name] for name in METHODS[method].settings if name in SMALL}
    return AttemptSpec(Base(str(folder)), method, "{body}", FORM, **{"rank": 0, "targets": (), **own, **more})


def rows_of(lm):
    draw = torch.Generator().manual_seed(2)
    ids_BS = torch.randint(1, 300, (2, 12), generator=draw)
    mask_BS = torch.ones_like(ids_BS)
    mask_BS[0, :4] = 0
    return {
        "input_ids": ids_BS,
        "attention_mask": mask_BS,
        "position_ids": (mask_BS.cumsum(1) - 1).clamp(min=0),
    }
