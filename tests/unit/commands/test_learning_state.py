"""What is known of the loop of ``learn`` between two commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_babyai.commands.learning_state import LearningState, read_state, write_state
from pytest_babyai.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    state = LearningState({"where": "x"}, {"collect": ["a"]}, {"collect": "b"}, ["collect"])

    write_state(tmp_path / "learn" / "state.json", state)

    assert read_state(tmp_path / "learn" / "state.json") == state


def test_without_a_file_there_is_no_state(tmp_path: Path) -> None:
    assert read_state(tmp_path / "state.json") is None


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"options": 5}', '{"options": {}, "runs": 3}', '{"other": {}}']
)
def test_a_damaged_file_is_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "state.json"
    path.write_text(text)

    with pytest.raises(SettingsError, match=r"state\.json: damaged; --fresh begins anew"):
        read_state(path)


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "learn").touch()

    with pytest.raises(SettingsError, match="learn: File exists"):
        write_state(tmp_path / "learn" / "state.json", LearningState({}))


def test_the_first_new_run_is_the_step_s() -> None:
    state = LearningState({}, known_runs={"collect": ["a"]})

    assert state.run_of("collect", ["a", "b", "c"]) == "b"
    assert state.run_of("collect", ["a"]) is None
    assert state.run_of("evaluate", ["a", "b"]) is None


def test_a_noted_run_stays_the_step_s() -> None:
    state = LearningState({}, known_runs={"collect": ["a"]}, runs={"collect": "c"})

    assert state.run_of("collect", ["a", "b", "c"]) == "c"


def test_a_loop_has_begun_once_there_is_a_run() -> None:
    state = LearningState({}, known_runs={"collect": ["a"]})

    assert not state.has_begun(["a"])
    assert state.has_begun(["a", "b"])
