"""``play``: a person in the place of the model."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from pytest_babyai.__main__ import main
from pytest_babyai.commands.play import play
from pytest_babyai.errors import SettingsError, UnknownTaskError
from pytest_babyai.journal import RUNS_DIRECTORY, create_run, open_run
from pytest_babyai.records import AnswerStatus
from pytest_babyai.reporting.artifacts import recorded_summary
from tests.unit.journal.journal_samples import RECORDING, entry, manifest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SOLVED_IN_ONE_STEP = 2


def answers(*texts: str) -> Callable[[str], str]:
    given = iter(texts)
    return lambda _: next(given)


def played(
    root: Path, *texts: str, shown: list[str] | None = None, save: bool = False
) -> list[str]:
    shown = [] if shown is None else shown
    return list(
        play(
            "goto",
            SOLVED_IN_ONE_STEP,
            variant="history",
            root=root,
            save=save,
            ask=answers(*texts),
            show=shown.append,
        )
    )


def test_an_episode_is_played_to_its_end(tmp_path: Path) -> None:
    assert played(tmp_path, "f") == ["solved after 1 of 64 steps, return 0.99"]


def test_actions_may_be_written_out(tmp_path: Path) -> None:
    assert played(tmp_path, "turn left", "turn right", "go forward")[0].startswith("solved after 3")


def test_what_is_shown_is_what_a_model_is_sent(tmp_path: Path) -> None:
    shown: list[str] = []
    played(tmp_path, "l", "r", "f", shown=shown)
    text = "\n".join(shown)
    assert text.count("--- system message") == 1
    assert text.count("--- user message") == 3
    assert text.count("Mission: go to the ") >= 3
    assert text.count("Action: turn left") == 2


def test_an_unknown_word_goes_forward_as_a_models_would(tmp_path: Path) -> None:
    played(tmp_path, "fly", save=True)
    (kept,) = open_run(tmp_path / RUNS_DIRECTORY, "human").entries()
    assert kept.outcome.steps[0].status is AnswerStatus.UNKNOWN_ACTION
    assert kept.outcome.steps[0].action == "go forward"


@pytest.mark.parametrize("word", ["q", "QUIT"])
def test_leaving_keeps_nothing(tmp_path: Path, word: str) -> None:
    assert played(tmp_path, word, save=True) == ["left before the end; nothing was kept"]
    assert not (tmp_path / RUNS_DIRECTORY).exists()


def test_episodes_are_kept_in_one_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert "kept in run human" in played(tmp_path, "f", save=True)[1]
    assert len(list(open_run(tmp_path / RUNS_DIRECTORY, "human").entries())) == 2

    assert main(["show", "human", "human-goto-2", "--prompts", "--root", str(tmp_path)]) == 0
    assert "  user message\n  | Mission: go to the " in capsys.readouterr().out


def test_a_person_stands_beside_the_variants(tmp_path: Path) -> None:
    played(tmp_path, "f", save=True)
    with create_run(tmp_path / RUNS_DIRECTORY, manifest(), RECORDING) as journal:
        journal.append(entry(SOLVED_IN_ONE_STEP))
    log, human = (open_run(tmp_path / RUNS_DIRECTORY, name) for name in (journal.run_id, "human"))

    summary = recorded_summary(log, beside=[human])

    assert summary.report.variants == ("baseline", "human")
    assert len(summary.verdict_lines) == 1
    (row,) = (each for each in summary.episodes if each.report.spec.variant == "human")
    assert row.report.replay == "python -m pytest_babyai play goto --seed=2"


def test_a_run_beside_itself_is_refused(tmp_path: Path) -> None:
    with create_run(tmp_path / RUNS_DIRECTORY, manifest(), RECORDING) as journal:
        journal.append(entry())
    log = open_run(tmp_path / RUNS_DIRECTORY, journal.run_id)
    with pytest.raises(SettingsError, match="has a variant 'baseline' as well"):
        recorded_summary(log, beside=[log])


def test_an_unknown_task_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UnknownTaskError):
        list(play("gotoo", 1, root=tmp_path))


def test_an_unknown_variant_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="unknown variant 'histroy'; did you mean 'history'"):
        list(play("goto", 1, variant="histroy", root=tmp_path))


def test_the_command_reads_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("f\n"))
    assert main(["play", "goto", "--seed=2", "--root", str(tmp_path)]) == 0
    assert "solved after 1 of 64 steps" in capsys.readouterr().out
