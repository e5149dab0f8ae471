"""Runs of the journal as text."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from pytest_babyai.errors import SettingsError
from pytest_babyai.journal import (
    Entry,
    EpisodeKey,
    GitState,
    Manifest,
    Recording,
    RunLog,
    Scrubber,
    Session,
    VariantDefinition,
    create_run,
    open_run,
    resume_run,
)
from pytest_babyai.records import AnswerStatus, EpisodeSpec, Usage
from pytest_babyai.reporting.numbers import ASCII
from pytest_babyai.reporting.prompts import Message
from pytest_babyai.reporting.runs import runs_lines, show_lines
from tests.unit.reporting.reporting_samples import failure, result, step

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_babyai.records import EpisodeOutcome

RECORDING = Recording(scrubber=Scrubber({}))
GOTO = EpisodeSpec("baseline", "goto", 200)
OPEN = EpisodeSpec("history", "open", 200)


def manifest(**changes: Any) -> Manifest:
    session = Session(
        started_at="2026-11-23T18:01:02+00:00",
        command_line=("pytest",),
        settings={},
        versions={},
        git=GitState("0123456789abcdef" * 2, dirty=True),
        num_selected=3,
    )
    variants = {"baseline": VariantDefinition("ab12")}
    plain = Manifest("gpt-4o-mini (openai)", offline=False, variants=variants, sessions=(session,))
    return dataclasses.replace(plain, **changes)


def entry(outcome: EpisodeOutcome, nodeid: str | None = None) -> Entry:
    spec = outcome.spec
    key = EpisodeKey(spec.variant, "ab12", spec.task, spec.seed)
    return Entry(key, outcome, nodeid or f"evals/test_babyai.py::test_episode[{spec}]", "gpt")


def written(root: Path, *entries: Entry) -> RunLog:
    with create_run(root, manifest(), RECORDING) as journal:
        for one in entries:
            journal.append(one)
    return open_run(root, journal.run_id)


def solved(spec: EpisodeSpec = GOTO, **changes: Any) -> Entry:
    fields = {"progression": 1.0, "episode_return": 0.8, "num_steps": 2, "duration_s": 3.2}
    return entry(result(spec, **fields | changes))


def test_runs_are_a_table_with_success_by_variant(tmp_path: Path) -> None:
    log = written(tmp_path, solved(), entry(result(OPEN)), entry(failure(EpisodeSpec("x", "y", 1))))

    assert list(runs_lines([log])) == [
        "run                   started (UTC)     model                 episodes  errors  state",
        f"{log.run_id}  2026-11-23 18:01  gpt-4o-mini (openai)  2/3       1       finished",
        "  success: baseline 100.0 %, history 0.0 %",
    ]


def test_a_run_that_is_being_written_is_running(tmp_path: Path) -> None:
    with create_run(tmp_path, manifest(), RECORDING) as journal:
        assert list(runs_lines([journal.log]))[1].endswith("  0/3       0       running")


def test_without_runs_the_list_says_so() -> None:
    assert list(runs_lines([])) == ["no runs yet: every pytest run with episodes adds one"]


def test_damaged_lines_are_told(tmp_path: Path) -> None:
    log = written(tmp_path, solved())
    with log.path.open("ab") as file:
        file.write(b"rubbish\n{")

    told = list(runs_lines([log]))[-2:]

    assert told[0].startswith(f"  1 damaged line skipped: {log.path}:2: ")
    assert told[1] == "  the last line is unfinished: its episode counts as not played"


def test_an_entry_that_was_played_again_counts_once(tmp_path: Path) -> None:
    log = written(tmp_path, entry(failure(GOTO)), solved())

    assert "  1/3       0  " in list(runs_lines([log]))[1]


def test_a_run_lists_its_episodes(tmp_path: Path) -> None:
    log = written(tmp_path, solved(), entry(failure(OPEN, kind="timeout", duration_s=61.0)))

    lines = list(show_lines(log))

    assert lines[0] == f"run {log.run_id}, finished, started 2026-11-23 18:01:02 UTC"
    assert lines[1] == "model: gpt-4o-mini (openai)"
    assert lines[2] == "commit: 0123456789ab with uncommitted changes"
    assert [line.split() for line in lines[-2:]] == [
        [
            "evals/test_babyai.py::test_episode[baseline-goto-200]",
            "solved",
            "2",
            "0.80",
            "3.2",
            "s",
        ],
        [
            "evals/test_babyai.py::test_episode[history-open-200]",
            *("timeout", "error", str(failure(OPEN).num_steps), "–", "1", "min", "01", "s"),  # noqa: RUF001
        ],
    ]


def test_verbose_adds_missions(tmp_path: Path) -> None:
    log = written(tmp_path, solved(mission="open the door"))

    assert list(show_lines(log, verbose=True))[-1] == "  mission: open the door"


def test_a_resumed_run_tells_how_often(tmp_path: Path) -> None:
    written(tmp_path, solved())
    resume_run(tmp_path, "latest", manifest(), RECORDING).close()

    assert "resumed: 1 time" in list(show_lines(open_run(tmp_path)))


def test_a_run_without_episodes_says_so(tmp_path: Path) -> None:
    assert list(show_lines(written(tmp_path)))[-1] == "no episode was finished"


def test_an_episode_is_shown_step_by_step(tmp_path: Path) -> None:
    steps = (
        step(thinking="left\nor right?", latency_ms=1234.0, usage=Usage(1000, 12)),
        step(
            candidate="dance", action="go forward", status=AnswerStatus.UNKNOWN_ACTION, reward=0.8
        ),
    )
    log = written(tmp_path, solved(steps=steps, usage=Usage(1100, 22)))

    assert list(show_lines(log, "baseline-goto-200", symbols=ASCII)) == [
        "evals/test_babyai.py::test_episode[baseline-goto-200]",
        "mission: go to the red ball",
        "solved after 2 of 64 steps, return 0.80, 3.2 s, 1,100 + 22 tokens",
        "",
        "step 1",
        "  observation  a wall 2 steps forward",
        "               a red ball 1 step right",
        "  thinking     left",
        "               or right?",
        "  answer       turn right",
        "  action       turn right",
        "  reward       0.00 | 1,234 ms | 1,000 + 12 tokens",
        "",
        "step 2",
        "  observation  a wall 2 steps forward",
        "               a red ball 1 step right",
        "  answer       dance",
        "  action       go forward (the answer is no known action)",
        "  reward       0.80 | 5 ms | 100 + 10 tokens",
    ]


def test_verbose_shows_raw_answers_and_inference_ids(tmp_path: Path) -> None:
    log = written(tmp_path, solved(steps=(step(output="{raw}", inference_id="0193"),)))

    assert list(show_lines(log, "goto-200", verbose=True))[-4:] == [
        "  raw answer   {raw}",
        "  finish       –",  # noqa: RUF001 -- as it is shown
        "  model        –",  # noqa: RUF001
        "  inference    0193",
    ]


def test_a_failure_is_shown_with_its_reason(tmp_path: Path) -> None:
    failed = failure(GOTO, kind="timeout", message="no answer", num_steps=0, duration_s=2.0)
    log = written(tmp_path, entry(failed))

    lines = list(show_lines(log, "goto-200"))

    assert lines[1] == "timeout error: no answer"
    assert lines[2].startswith("no score; 0 steps played before it, 2.0 s, ")


def test_steps_that_were_not_kept_are_told(tmp_path: Path) -> None:
    log = written(tmp_path, solved(steps=()))

    assert list(show_lines(log, "goto-200"))[-1] == "its steps were not kept"


def test_control_characters_of_a_model_do_not_reach_the_terminal(tmp_path: Path) -> None:
    evil = "\x1b[2J\x07\u202egnp\x9b31m\r\x00"
    steps = (step(thinking=evil, candidate=evil, observation=evil, output=evil),)
    log = written(tmp_path, solved(steps=steps, mission=evil))

    text = "".join(show_lines(log, "goto-200", verbose=True))

    assert text.isprintable()
    assert "\\x1b[2J\\x07\\u202egnp\\x9b31m" in text


@pytest.mark.parametrize(
    "wanted",
    [
        "evals/test_babyai.py::test_episode[baseline-goto-200]",
        "test_episode[baseline-goto-200]",
        "baseline-goto-200",
        "goto-200",
    ],
)
def test_an_end_that_no_other_node_id_has_is_enough(tmp_path: Path, wanted: str) -> None:
    log = written(tmp_path, solved(), entry(result(OPEN)))

    assert next(show_lines(log, wanted)).endswith("[baseline-goto-200]")


def test_a_whole_parameter_set_beats_a_longer_one_that_ends_alike(tmp_path: Path) -> None:
    log = written(
        tmp_path, solved(EpisodeSpec("a-b", "goto", 1)), solved(EpisodeSpec("b", "goto", 1))
    )

    assert next(show_lines(log, "b-goto-1")).endswith("[b-goto-1]")


def test_an_ambiguous_end_names_some_of_its_episodes(tmp_path: Path) -> None:
    log = written(tmp_path, solved(), entry(result(OPEN)))

    with pytest.raises(SettingsError, match=r"'-200' names 2 episodes of run .*goto-200.*open-200"):
        list(show_lines(log, "-200"))


def test_a_mistyped_episode_gets_a_suggestion(tmp_path: Path) -> None:
    log = written(tmp_path, solved(), entry(result(OPEN)))

    with pytest.raises(SettingsError, match="did you mean 'baseline-goto-200'"):
        list(show_lines(log, "basline-goto-200"))


def test_an_episode_unlike_any_other_is_refused_in_one_short_line(tmp_path: Path) -> None:
    log = written(tmp_path, solved())

    with pytest.raises(SettingsError, match=r"no episode '#' .*: it has 1 episode; name none"):
        list(show_lines(log, "#"))


def test_prompts_come_from_the_store_where_one_is_asked(tmp_path: Path) -> None:
    log = written(tmp_path, solved(steps=(step(inference_id="1"), step(inference_id="2"))))
    asked: list[str] = []

    def stored(ids: Sequence[str]) -> dict[str, tuple[Message, ...]]:
        asked.extend(ids)
        return {"1": (Message("user", "as it was sent"),)}

    lines = list(show_lines(log, "goto-200", prompts=True, stored=stored))

    assert asked == ["1", "2"]
    assert lines[lines.index("  user message") + 1] == "  | as it was sent"
    assert lines.count("  user message") == 1


def test_prompts_of_a_run_that_kept_no_templates_are_not_made_up(tmp_path: Path) -> None:
    log = written(tmp_path, solved(steps=(step(),)))
    lines = list(show_lines(log, "goto-200", prompts=True))
    assert "its prompts cannot be shown: the run did not keep their templates" in lines


def test_prompts_need_an_episode(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--prompts needs an episode"):
        list(show_lines(written(tmp_path, solved()), prompts=True))
