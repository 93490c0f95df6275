"""params.yaml, parsed once into frozen, documented settings; the only reader of params.yaml.

`section` says what sections are made of, `data` and `ladder` hold them, `params` reads the file.
"""

from rungwise.config.data import (
    AugmentSettings,
    CollectSettings,
    DriftSettings,
    DuplicateSettings,
    EndpointSettings,
    ExpectationSettings,
    GenerateSettings,
    IngestSettings,
    SourceSettings,
    SplitSettings,
    ValidateSettings,
)
from rungwise.config.ladder import (
    HUB_NAME,
    METRICS,
    AnswerSettings,
    DecideSettings,
    EvaluateSettings,
    FieldSettings,
    PromoteSettings,
    RegisterSettings,
    RungSettings,
    TaskSettings,
    TrainSettings,
    base_named,
    base_of,
)
from rungwise.config.params import SECTIONS, Settings, augment_field, inner_section, load, parse, pin, read_raw

__all__ = [
    "HUB_NAME",
    "METRICS",
    "SECTIONS",
    "AnswerSettings",
    "AugmentSettings",
    "CollectSettings",
    "DecideSettings",
    "DriftSettings",
    "DuplicateSettings",
    "EndpointSettings",
    "EvaluateSettings",
    "ExpectationSettings",
    "FieldSettings",
    "GenerateSettings",
    "IngestSettings",
    "PromoteSettings",
    "RegisterSettings",
    "RungSettings",
    "Settings",
    "SourceSettings",
    "SplitSettings",
    "TaskSettings",
    "TrainSettings",
    "ValidateSettings",
    "augment_field",
    "base_named",
    "base_of",
    "inner_section",
    "load",
    "parse",
    "pin",
    "read_raw",
]
