"""What a run could not tell its store is told later."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_babyai.commands import run_command
from pytest_babyai.commands.record import Recorded
from pytest_babyai.errors import JournalError, SettingsError
from pytest_babyai.journal import RUNS_DIRECTORY, create_run
from tests.unit.journal.journal_samples import RECORDING, entry, key, manifest, result

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a run of an episode."""
    monkeypatch.delenv("TENSORZERO_CLICKHOUSE_URL", raising=False)
    with create_run(tmp_path / RUNS_DIRECTORY, manifest(), RECORDING) as journal:
        journal.append(entry(key=key(), outcome=result(key())))
    return tmp_path


def call(project: Path, *options: str, run: str = "latest") -> list[str]:
    return list(run_command(["record", run, f"--root={project}", *options]))


def test_a_run_has_to_be_sent_somewhere(project: Path) -> None:
    with pytest.raises(SettingsError, match="name the store of the run with --store DIR, "):
        call(project)


def test_a_run_is_sent_to_one_store(project: Path) -> None:
    with pytest.raises(SettingsError, match=r"^--store and --gateway-url exclude each other"):
        call(project, "--store=s", "--gateway-url=http://localhost:3000")


def test_a_store_that_is_not_there_is_not_made(project: Path) -> None:
    with pytest.raises(SettingsError, match=r"--store: there is no store in .*/gone"):
        call(project, f"--store={project / 'gone'}")

    assert not (project / "gone").exists()


def test_an_unknown_run_is_told(project: Path) -> None:
    with pytest.raises(SettingsError, match="no run 'nope'"):
        call(project, "--gateway-url=http://localhost:3000", run="nope")


@pytest.mark.parametrize("given_by", ["option", "environment"])
def test_a_database_that_does_not_answer_is_told_without_its_password(
    project: Path, monkeypatch: pytest.MonkeyPatch, given_by: str
) -> None:
    url = "http://babyai:hunter22@127.0.0.1:9/db"
    if given_by == "environment":
        monkeypatch.setenv("TENSORZERO_CLICKHOUSE_URL", url)
    options = [f"--clickhouse-url={url}"] if given_by == "option" else []

    with pytest.raises(SettingsError, match=r"127\.0\.0\.1:9/db: no ClickHouse answers") as caught:
        call(project, *options)

    assert "hunter22" not in str(caught.value)


def test_a_gateway_that_does_not_answer_is_told(project: Path) -> None:
    with pytest.raises(SettingsError, match=r"gateway URL http://127\.0\.0\.1:9: nothing answers"):
        call(project, "--gateway-url=http://127.0.0.1:9")


def test_a_run_that_is_being_played_is_left_alone(project: Path) -> None:
    with (
        create_run(project / RUNS_DIRECTORY, manifest(), RECORDING) as playing,
        pytest.raises(JournalError, match="is being written by process"),
    ):
        call(project, "--gateway-url=http://127.0.0.1:9", run=playing.run_id)


def test_a_run_that_could_not_be_sent_may_be_sent_again(project: Path) -> None:
    for _ in range(2):
        with pytest.raises(SettingsError, match="nothing answers"):
            call(project, "--gateway-url=http://127.0.0.1:9")


def test_what_was_sent_is_told() -> None:
    sent = Recorded(num_before=1_200, num_sent=1, num_failed=0, problem=None)

    assert list(sent.lines("r")) == ["run r: feedback of 1 episode sent, 1,200 had been"]


def test_what_could_not_be_sent_is_told_with_its_reason() -> None:
    sent = Recorded(num_before=0, num_sent=0, num_failed=2, problem="the store is gone")

    assert list(sent.lines("r"))[1:] == ["2 episodes could not be recorded: the store is gone"]
