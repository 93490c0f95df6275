"""params.yaml as immutable, documented settings. No other room reads the file.

`section` has the base class, `data`, `ladder`, `gates` and `endpoint` have the sections, and `params` puts them
together. `read` reads the file, `edit` changes it, and `renamed` knows the old names and places of settings.
"""

from rungwise.config.data import (
    AugmentSettings,
    CollectSettings,
    DriftSettings,
    DuplicateSettings,
    ExpectationSettings,
    GenerateSettings,
    IngestSettings,
    SourceSettings,
    SplitSettings,
    ValidateSettings,
)
from rungwise.config.endpoint import EndpointSettings, IncumbentSettings, PriceSettings, ServerSettings
from rungwise.config.gates import (
    AbstainSettings,
    DecideSettings,
    EvaluateSettings,
    PromoteSettings,
    RegisterSettings,
)
from rungwise.config.ladder import (
    HUB_NAME,
    METRICS,
    AnswerSettings,
    FieldSettings,
    RungSettings,
    TaskSettings,
    TrainSettings,
    base_named,
    base_of,
)
from rungwise.config.params import (
    SECTIONS,
    Settings,
    augment_field,
    inner_section,
    load,
    parse,
    pin,
    set_precision,
)
from rungwise.config.read import read_raw
from rungwise.config.renamed import RENAMED, RenamedSetting, rename_settings
from rungwise.config.section import check_name

__all__ = [
    "HUB_NAME",
    "METRICS",
    "RENAMED",
    "SECTIONS",
    "AbstainSettings",
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
    "IncumbentSettings",
    "IngestSettings",
    "PriceSettings",
    "PromoteSettings",
    "RegisterSettings",
    "RenamedSetting",
    "RungSettings",
    "ServerSettings",
    "Settings",
    "SourceSettings",
    "SplitSettings",
    "TaskSettings",
    "TrainSettings",
    "ValidateSettings",
    "augment_field",
    "base_named",
    "base_of",
    "check_name",
    "inner_section",
    "load",
    "parse",
    "pin",
    "read_raw",
    "rename_settings",
    "set_precision",
]
