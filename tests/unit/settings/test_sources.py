from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_babyai.errors import SettingsError
from pytest_babyai.settings.definitions import DEFINITIONS
from pytest_babyai.settings.model import Settings
from pytest_babyai.settings.sources import (
    Source,
    marker_source,
    origin_of,
    read_settings_file,
    resolve,
)


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


def settings_of(directory: Path, text: str) -> Settings:
    path = directory / "babyai.yml"
    path.write_text(text, encoding="utf-8")
    return resolve([read_settings_file(path)])


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("seed: 3\nmodel: a\nseed: 4\n", ":3: malformed YAML: 'seed' is given twice"),
        ("fail: {offline: [a], offline: [b]}", ":1: malformed YAML: 'offline' is given twice"),
        ("model: a\nseed: 0200", ":2: malformed YAML: '0200' is another number in YAML (octal"),
        ("max_time: 1:30", ":1: malformed YAML: '1:30' is another number in YAML"),
        ("seed: 0x10", ":1: malformed YAML: '0x10' is another number in YAML"),
        ("seeds: " + "[" * 9_999, ": malformed YAML: nested too deeply"),
        ("save: 2026-13-45", ": malformed YAML: month must be in 1..12"),
        ("seed: " + "9" * 5_000, ": malformed YAML: Exceeds the limit"),
        ("seeds: &a [*a]", "...]]]]]]] is not whole numbers and ranges"),
        ("? [1, 2]\n: 3", ":1: malformed YAML: found unhashable key"),
        ("episodes: 100000000000000000000", "is not a whole number from 1 to 100,000"),
        ("seeds: 1-100000000000", "is not a choice of at most 100,000 seeds"),
        ("seeds: [1-60000, 100000-160000]", "is not a choice of at most 100,000 seeds"),
        ("history_length: 99999999999999999999", "is not a whole number from 0 to 1,000,000"),
        ("concurrency: 99999999999999999999", "is not 'auto' or a whole number"),
        ("timeout: 1e300", "timeout: '1e300' is not a number above 0 and at most 1e+09"),
        ("max_time: 99999999999999d", "is not a duration above 0 and at most 1e+09 seconds"),
        ("x" * 900 + ": 3", "unknown setting 'xxxx"),
        ("model: " + "[" * 90 + "]" * 90, "model: [[[[[[[...]]]]]]] is not a name or a path"),
        ("model: {a: " + "x" * 9_999 + "}", "is not a name or a path"),
        ('config: "a"', "unknown setting 'config'"),
        ('html: "a\\0b"', "is not a name or a path"),
        ("shard: 5/4", "shard: '5/4' is not one part of several, such as 1/4 to 4/4"),
        ("shard: 0/4", "is not one part of several"),
        ("shard: half", "is not one part of several"),
    ],
    ids=lambda text: text[:30],
)
def test_what_is_absurd_or_ambiguous_ends_in_one_clear_line(
    tmp_path: Path, text: str, line: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        settings_of(tmp_path, text)

    assert line in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "babyai.yml"))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


def test_a_bomb_of_aliases_is_refused_without_going_off(tmp_path: Path) -> None:
    levels = ["a0: &a0 [x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]

    with pytest.raises(SettingsError, match=r"model: .* is not a name or a path"):
        settings_of(tmp_path, f"model: {{{', '.join(levels)}}}")


@pytest.mark.parametrize(("written", "read"), [("on", "on"), ("off", "off"), ("no", "off")])
def test_yaml_takes_on_and_off_for_truth_values_and_we_do_not(
    tmp_path: Path, written: str, read: str
) -> None:
    settings = settings_of(tmp_path, f"journal: {written}\ncache: {written}\n")

    assert (settings.journal, settings.cache) == (read, read)


def test_a_truth_value_is_no_word_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="gate: True is not episodes or aggregate"):
        settings_of(tmp_path, "gate: yes")


def test_decimals_with_underscores_and_quoted_numbers_are_read(tmp_path: Path) -> None:
    assert settings_of(tmp_path, 'seed: 1_000\nepisodes: "020"').played_seeds[::19] == (1000, 1019)


def test_a_directory_in_the_place_of_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "babyai.yml").mkdir()

    with pytest.raises(SettingsError, match=r"babyai\.yml: cannot be read: Is a directory"):
        read_settings_file(tmp_path / "babyai.yml")


def test_a_link_to_nowhere_is_named(tmp_path: Path) -> None:
    (tmp_path / "babyai.yml").symlink_to(tmp_path / "gone.yml")

    with pytest.raises(SettingsError, match=r"babyai\.yml: cannot be read: No such file"):
        read_settings_file(tmp_path / "babyai.yml")


@given(
    st.lists(st.integers(0, 500), min_size=1, max_size=40, unique=True),
    st.integers(1, 9),
)
def test_shards_share_out_the_seeds(seeds: list[int], num_parts: int) -> None:
    whole = resolve([source(seeds=seeds)])
    parts = [
        resolve([source(shard=f"{part}/{num_parts}"), source(seeds=seeds)]).played_seeds
        for part in range(1, num_parts + 1)
    ]

    assert sorted(seed for part in parts for seed in part) == sorted(whole.played_seeds)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert parts[0] == tuple(sorted(seeds)[::num_parts])


def test_amounts_and_shards_are_kept_as_they_were_given() -> None:
    plain = resolve([source(shard="2/4", max_errors="5%", fail={"m": ["a<1"]})]).as_plain()

    assert (plain["shard"], plain["max_errors"], plain["fail"]) == ("2/4", "5%", {"m": ["a<1"]})


def test_the_place_that_decides_is_named() -> None:
    sources = [source(seed=1), source(seed=2, episodes=3)]

    assert [origin_of(name, sources) for name in ("seed", "episodes", "model")] == [
        "<seed>",
        "<episodes>",
        "",
    ]
