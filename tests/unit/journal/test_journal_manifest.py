"""Manifests, what changed between two, and where a run comes from."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from pytest_babyai.errors import JournalError
from pytest_babyai.journal import (
    GitState,
    Manifest,
    Scrubber,
    VariantDefinition,
    configuration_changes,
    describe_session,
    git_state,
)
from tests.patience import PATIENCE_S
from tests.unit.journal.journal_samples import manifest, session

if TYPE_CHECKING:
    from pathlib import Path

SCRUBBER = Scrubber({})


def git(directory: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    command = ["git", *identity, *arguments]
    subprocess.run(command, cwd=directory, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init")
    (tmp_path / "file").write_text("one")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-m", "one")
    return tmp_path


def test_a_manifest_survives_its_file() -> None:
    written = manifest(
        run_id="20261123-180102-ab12",
        sessions=(session(git=GitState("abc", dirty=True)), session(notes={"cuts": [1, 2]})),
    )

    assert Manifest.from_json(written.to_json(SCRUBBER)) == written


def test_fields_that_a_later_version_added_are_left_out() -> None:
    record = json.loads(manifest().to_json(SCRUBBER))
    record["mood"] = record["sessions"][0]["mood"] = "good"

    assert Manifest.from_json(json.dumps(record).encode()) == manifest()


def test_a_newer_schema_is_refused() -> None:
    record = json.loads(manifest().to_json(SCRUBBER))
    record["schema"] = 99

    with pytest.raises(JournalError, match="schema 99"):
        Manifest.from_json(json.dumps(record).encode())


@pytest.mark.parametrize("text", [b"", b"null", b"{}", b'{"schema": 1}'])
def test_what_is_no_manifest_is_a_value_error(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        Manifest.from_json(text)


def variants(**hashes: str) -> dict[str, VariantDefinition]:
    parts = {"template user/history": hashes.pop("template"), **hashes}
    return {"history": VariantDefinition("+".join(parts.values()), parts)}


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ({}, {}, []),
        (
            {"settings": {"history_length": 8, "seed": 1}},
            {"settings": {"history_length": 4, "seed": 2}},
            ["history_length 8 → 4"],
        ),
        (
            {"versions": {"minigrid": "3.1", "python": "3.10"}},
            {"versions": {"minigrid": "3.2", "python": "3.11"}},
            ["minigrid 3.1 → 3.2"],
        ),
    ],
)
def test_changed_settings_are_named(
    old: dict[str, Any], new: dict[str, Any], changes: list[str]
) -> None:
    before = manifest(sessions=(session(**old),))
    after = manifest(sessions=(session(**new),))

    assert configuration_changes(before, after) == changes


@pytest.mark.parametrize(
    ("old", "new", "change"),
    [
        (
            variants(template="ab12ab12ab12", schema="1"),
            variants(template="cd34cd34cd34", schema="1"),
            "variant history: template user/history changed (ab12ab12 → cd34cd34)",
        ),
        (
            variants(template="a", schema="1"),
            variants(template="a", model="2"),
            "variant history: schema removed, model added",
        ),
        (
            {"history": VariantDefinition("ab12")},
            {"history": VariantDefinition("cd34")},
            "variant history changed (ab12 → cd34)",
        ),
    ],
)
def test_a_changed_variant_is_named_with_its_parts(
    old: dict[str, VariantDefinition], new: dict[str, VariantDefinition], change: str
) -> None:
    assert configuration_changes(manifest(variants=old), manifest(variants=new)) == [change]


def test_variants_that_come_or_go_are_no_change() -> None:
    one = manifest(variants={"a": VariantDefinition("1"), "b": VariantDefinition("2")})
    other = manifest(variants={"b": VariantDefinition("2"), "c": VariantDefinition("3")})

    assert configuration_changes(one, other) == []


def test_a_resumed_manifest_keeps_every_session_and_variant() -> None:
    first = manifest(variants={"a": VariantDefinition("1")}, run_id="run")
    second = manifest(
        variants={"b": VariantDefinition("2")}, sessions=(session(started_at="later"),)
    )

    resumed = first.resumed_by(second)

    assert list(resumed.variants) == ["a", "b"]
    assert [each.started_at for each in resumed.sessions] == [first.created_at, "later"]
    assert (resumed.run_id, resumed.created_at) == ("run", first.created_at)


def test_a_session_tells_versions_and_commit(repository: Path) -> None:
    described = describe_session(
        settings={"model": "offline"}, command_line=["pytest"], directory=repository, num_selected=7
    )

    assert described.versions["python"]
    assert described.versions["pytest"] == pytest.__version__
    assert described.git == git_state(repository)
    assert described.started_at.endswith("+00:00")


def test_a_clean_repository_is_not_dirty(repository: Path) -> None:
    (repository / "untracked").write_text("x")

    state = git_state(repository, timeout_s=PATIENCE_S)

    assert state is not None
    assert len(state.commit) == 40
    assert not state.dirty


def test_a_changed_tracked_file_makes_it_dirty(repository: Path) -> None:
    (repository / "file").write_text("two")

    state = git_state(repository, timeout_s=PATIENCE_S)

    assert state is not None
    assert state.dirty


def test_without_a_commit_there_is_no_state(tmp_path: Path) -> None:
    git(tmp_path, "init")

    assert git_state(tmp_path) is None


def test_no_repository_no_directory_and_no_git_give_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_state(tmp_path) is None
    assert git_state(tmp_path / "missing") is None
    monkeypatch.setenv("PATH", "")
    assert git_state(tmp_path) is None


def test_a_git_that_hangs_is_not_waited_for(repository: Path) -> None:
    assert git_state(repository, timeout_s=0.0) is None


def test_notes_belong_to_the_last_session() -> None:
    two = manifest(sessions=(session(), session(notes={"a": 1})))

    noted = two.with_notes({"b": 2})

    assert noted.session.notes == {"a": 1, "b": 2}
    assert noted.sessions[0] == two.sessions[0]
    assert dataclasses.replace(noted, sessions=two.sessions) == two
