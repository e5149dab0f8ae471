from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_babyai.errors import SettingsError
from pytest_babyai.settings.definitions import DEFINITIONS
from pytest_babyai.settings.model import Settings
from pytest_babyai.settings.sources import Source, marker_source, read_settings_file, resolve


def source(**values: Any) -> Source:
    return Source(values, lambda definition: f"<{definition.key}>")


def test_no_source_gives_the_defaults() -> None:
    assert resolve([]) == Settings()


def test_the_stronger_source_wins() -> None:
    assert resolve([source(episodes=1), source(episodes=2, seed=7)]) == Settings(episodes=1, seed=7)


def test_a_wrong_value_names_its_place_and_what_is_right() -> None:
    with pytest.raises(SettingsError, match=r"^<episodes>: 0 is not a whole number of at least 1$"):
        resolve([source(episodes=0)])


def test_played_seeds_count_from_the_first() -> None:
    assert resolve([source(episodes=3, seed=7)]).played_seeds == (7, 8, 9)


def test_explicit_seeds_decide() -> None:
    assert resolve([source(seeds="3,5"), source(episodes=9)]).played_seeds == (3, 5)


def test_stronger_episodes_overrule_weaker_seeds() -> None:
    assert resolve([source(episodes=2), source(seeds="3,5")]).played_seeds == (200, 201)


def test_seeds_and_episodes_of_one_source_exclude_each_other() -> None:
    with pytest.raises(SettingsError, match=r"^<seeds> and <episodes> exclude each other"):
        resolve([source(seeds="3", episodes=2)])


def test_a_marker_refuses_an_unknown_argument_by_name() -> None:
    with pytest.raises(
        SettingsError, match=r"^t\.py::t: .*unknown argument 'varants'; did you mean 'variants'\?$"
    ):
        marker_source({"varants": ["a"]}, "t.py::t")


def test_a_marker_refuses_a_setting_of_the_whole_run() -> None:
    with pytest.raises(SettingsError, match="unknown argument 'model'"):
        marker_source({"model": "openai"}, "t.py::t")


def test_a_missing_settings_file_gives_nothing(tmp_path: Path) -> None:
    assert resolve([read_settings_file(tmp_path / "babyai.yml")]) == Settings()


def test_an_empty_settings_file_gives_nothing(tmp_path: Path) -> None:
    (tmp_path / "babyai.yml").write_text("# nothing\n")

    assert resolve([read_settings_file(tmp_path / "babyai.yml")]) == Settings()


def test_a_settings_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "babyai.yml"
    path.write_text("variants: [a, b]\ntimeout: 2.5\n")

    assert resolve([read_settings_file(path)]) == Settings(variants=("a", "b"), timeout_s=2.5)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("epsodes: 3", "unknown setting 'epsodes'; did you mean 'episodes'?"),
        ("- 3", "expected 'name: value' lines, found list"),
        ("episodes: [", ":1: malformed YAML"),
        ("a: b: c", ":1: malformed YAML: mapping values are not allowed here"),
    ],
)
def test_a_wrong_settings_file_is_named(tmp_path: Path, text: str, line: str) -> None:
    path = tmp_path / "babyai.yml"
    path.write_text(text)

    with pytest.raises(SettingsError) as caught:
        read_settings_file(path)

    assert str(caught.value).startswith(str(path))
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_settings_file_of_other_bytes_is_named(tmp_path: Path) -> None:
    path = tmp_path / "babyai.yml"
    path.write_bytes(b"\xff\xfe\x00")

    with pytest.raises(SettingsError, match="malformed YAML"):
        read_settings_file(path)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="only Linux has such a file")
def test_a_settings_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "babyai.yml"
    path.symlink_to("/proc/self/mem")

    with pytest.raises(SettingsError, match=r"babyai\.yml: cannot be read: "):
        read_settings_file(path)


def test_every_field_has_a_definition() -> None:
    assert {definition.name for definition in DEFINITIONS} == set(Settings.__dataclass_fields__)


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda definition: definition.name)
def test_a_default_is_what_its_definition_reads(definition: Any) -> None:
    default = getattr(Settings(), definition.name)

    assert default is None or definition.parse(default) == default


def test_plain_settings_are_json() -> None:
    plain = Settings(config=Path("x"), variants=("a",)).as_plain()

    assert plain["config"] == "x"
    assert plain["variants"] == ["a"]
