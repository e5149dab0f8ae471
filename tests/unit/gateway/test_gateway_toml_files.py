from __future__ import annotations

import sys
from datetime import date, datetime, time, timezone
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_babyai.gateway.toml_files import DuplicateKeyError, TomlFile, merge, to_toml

if TYPE_CHECKING:
    from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found, unused-ignore]

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
scalars = (
    texts
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.dates()
    | st.times()
    | st.datetimes(timezones=st.none() | st.just(timezone.utc))
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(texts, values, max_size=3))
def test_a_written_tree_reads_back_the_same(tree: dict[str, Any]) -> None:
    assert tomllib.loads(to_toml(tree)) == tree


def test_dates_and_times_keep_their_kind() -> None:
    tree = {"a": date(2026, 1, 2), "b": time(3, 4), "c": datetime(2026, 1, 2, 3, 4)}  # noqa: DTZ001

    assert tomllib.loads(to_toml(tree)) == tree


def test_tables_merge_and_keep_their_order() -> None:
    left = {"a": {"x": 1}, "b": 1}
    right = {"a": {"y": 2}, "c": 3}

    assert list(merge(left, right).items()) == [("a", {"x": 1, "y": 2}), ("b", 1), ("c", 3)]


def test_a_value_given_twice_is_named() -> None:
    with pytest.raises(DuplicateKeyError, match=r"^a\.x$"):
        merge({"a": {"x": 1}}, {"a": {"x": 1}})


def test_what_goes_to_the_provider_as_it_is_names_no_file(tmp_path: Path) -> None:
    body = [{"pointer": "/tool", "value": {"path": "absent.txt"}}]
    tree = {"functions": {"act": {"variants": {"baseline": {"extra_body": body}}}}}

    assert TomlFile(tmp_path / "x.toml", tree).with_paths(str) == tree


def test_paths_are_seen_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "schema.json").write_text("{}")
    tree = {"functions": {"act": {"output_schema": "schema.json", "type": "json"}}}

    replaced = TomlFile(tmp_path / "x.toml", tree).with_paths(str)

    assert replaced["functions"]["act"] == {
        "output_schema": str(tmp_path / "schema.json"),
        "type": "json",
    }
