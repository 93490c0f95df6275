import re
import tomllib

import pytest
from ruamel.yaml import YAML

from rungwise.core.errors import SettingsError
from rungwise.planning.machines import TABLE, machine_named, machines
from tests.conftest import REPOSITORY


def test_the_table_has_the_families_and_cards_that_it_promises():
    names = machines()
    for family in ("p3.", "p3dn.", "p4d.", "p4de.", "p5.", "p5en.", "g5.", "g6.", "g6e."):
        assert any(name.startswith(family) for name in names), family
    assert {"v100-16gb", "rtx-4090", "a100-80gb", "h100-80gb", "t4", "l4"} <= set(names)


def test_every_figure_names_a_url_and_a_date():
    values = YAML(typ="safe", pure=True).load(TABLE.read_text())
    for source in values["sources"].values():
        assert source["url"].startswith("https://") and re.fullmatch(r"20\d\d-\d\d-\d\d", str(source["date"]))
    figures = [f for kind in ("cards", "machines") for entry in values[kind].values() for f in entry.items()]
    for key, figure in figures:
        pairs = figure if key == "notes" else [figure]
        assert key == "card" or figure in (None, 1) or all(pair[1] in values["sources"] for pair in pairs), key
    used = {f[1] for key, f in figures if isinstance(f, list) and key != "notes"} | {"torch-volta"}
    assert set(values["sources"]) == used  # no source that nothing uses


def test_a_v100_has_no_bf16_and_says_which_torch_supports_it():
    machine = machines()["p3.2xlarge"]
    assert machine.memory_bytes == 16 * 10**9 and machine.gpus == 1 and machine.price_usd_hour == 3.06
    assert machine.has_bf16 is False and "no bf16" in machine.notes[0]
    assert "default builds of torch no longer serve" in machine.notes[1]
    assert "2026-01-19" in machine.sources["price_usd_hour"] and "pytorch/issues" in machine.sources["note 1"]
    assert machine.rate("fp32") == 15.7e12 and machine.rate("4bit") == machine.rate("bf16") == 125e12


def test_a_figure_without_a_source_is_none():
    assert machines()["g5.xlarge"].half_rate is None and machines()["g6.xlarge"].gpus is None


OWN = """\
sources: {invoice: {url: "https://example.com/1", date: 2026-11-01}}
cards: {mine: {memory_gb: [12, invoice], has_bf16: [true, invoice]}}
machines:
  box: {card: mine, gpus: 1, price_usd_hour: [0.5, invoice]}
  t4: {card: t4, gpus: 1, price_usd_hour: [0.35, invoice]}
"""


def test_a_workspaces_own_table_adds_and_replaces_by_name(tmp_path):
    (tmp_path / "machines.yaml").write_text(OWN)
    result = machines(tmp_path)
    assert result["box"].memory_bytes == 12 * 10**9 and result["box"].half_rate is None
    assert result["t4"].price_usd_hour == 0.35 and result["t4"].memory_bytes == 16 * 10**9
    assert len(result) == len(machines()) + 1
    assert machine_named("box", result) == result["box"]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (OWN, "machines: [", "UTF-8 YAML"),
        (OWN, "[1]", "a mapping with the keys"),
        (OWN, "machine: {}", "a mapping with the keys"),
        (OWN, "machines: 3", "machines(.|\n)*a mapping of names"),
        ("card: mine", "card: yours", "machines.box.card(.|\n)*yours(.|\n)*v100-16gb"),
        ("gpus: 1", "gpu: 1", "machines.box(.|\n)*gpu(.|\n)*gpus"),
        ("{card: mine, gpus: 1, price_usd_hour: [0.5, invoice]}", "5", "machines.box(.|\n)*int"),
        ("[0.5, invoice]", "0.5", "price_usd_hour(.|\n)*0.5(.|\n)*source"),
        ("[0.5, invoice]", "[0.5, rumour]", "source rumour"),
        ("[0.5, invoice]", "[-1, invoice]", "a number above 0"),
        ("[0.5, invoice]", "[true, invoice]", "a number above 0"),
        ("[0.5, invoice]", "[.inf, invoice]", "a number above 0"),
        ("[0.5, invoice]", "[0.5, [invoice]]", "source(.|\n)*a key of `sources`"),
        ("{mine: {", "{mine: {notes: 5, ", "cards.mine.notes(.|\n)*5(.|\n)*a list of"),
        ("[true, invoice]", "[maybe, invoice]", "has_bf16(.|\n)*true or false"),
        ("memory_gb", "memory", "cards.mine(.|\n)*memory_gb"),
        (", date: 2026-11-01", "", "url and date"),
    ],
)
def test_a_table_that_cant_be_used_names_the_place(tmp_path, old, new, says):
    (tmp_path / "machines.yaml").write_text(OWN.replace(old, new, 1))
    with pytest.raises(SettingsError, match=says):
        machines(tmp_path)


def test_an_unknown_machine_is_named_with_the_known_ones():
    with pytest.raises(SettingsError, match="p9.large(.|\n)*p3.2xlarge(.|\n)*machines.yaml"):
        machine_named("p9.large", machines())


def test_the_table_is_in_the_package():
    """Hatchling ships every file of a package's folder."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    assert "components/rungwise" in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert TABLE.is_relative_to(REPOSITORY / "components")
