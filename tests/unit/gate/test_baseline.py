"""Baseline files: what is saved is read, and what is none is refused in one line."""

from __future__ import annotations

import itertools
import json
import math
import stat
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_babyai.errors import BaselineError
from pytest_babyai.gate import (
    RunScores,
    baseline_path,
    find_baseline,
    load_baseline,
    save_baseline,
)
from pytest_babyai.gate.baseline import baseline_text
from pytest_babyai.journal import Entry
from tests.unit.gate.gate_samples import alternating, episode, episodes, failed, run, snapshot

VARIANTS = ("baseline", "reasoning", "history", "history_and_reasoning")
ALL_TASKS = ("goto", "pickup", "open", "putnext", "pick_up_seq_go_to")
finite = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def run_scores(draw: st.DrawFn) -> RunScores:
    specs = st.tuples(st.sampled_from(VARIANTS), st.text(min_size=1), st.integers(0, 2**40))
    counts = st.none() | st.integers(0, 10**9)
    parts = draw(
        st.lists(st.tuples(specs, st.floats(0, 1), finite, st.integers(0, 999), counts), max_size=9)
    )
    return RunScores.of_outcomes(
        episode(progression, *spec, episode_return=value, num_steps=steps, input_tokens=tokens)
        for spec, progression, value, steps, tokens in parts
    )


@given(run_scores())
def test_what_is_written_is_read_again(scores: RunScores) -> None:
    kept = snapshot(scores, variant_hashes={})
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "main.jsonl"
        path.write_bytes(baseline_text(kept))
        assert load_baseline(path) == kept


def test_a_saved_file_is_loaded_with_errors_and_unknown_values(tmp_path: Path) -> None:
    scores = RunScores.of_outcomes([episode(1.0, cost=None, input_tokens=5), failed(seed=201)])
    kept = snapshot(scores)
    save_baseline(tmp_path / "main.json", kept, allow_errors=True)
    assert load_baseline(tmp_path / "main.json") == kept


def test_the_order_of_tables_is_kept(tmp_path: Path) -> None:
    both = [*episodes([1.0], "b", tasks=["open"]), *episodes([1.0], "a", tasks=["goto"])]
    scores = RunScores.of_outcomes(both, variants=["b", "a"], tasks=["open", "goto"])
    save_baseline(tmp_path / "main.json", snapshot(scores))
    read = load_baseline(tmp_path / "main.json").scores
    assert (read.variants, read.tasks) == (("b", "a"), ("open", "goto"))


def test_equal_runs_give_equal_bytes_whatever_order_their_episodes_ended_in() -> None:
    played = episodes(alternating(5))
    forward, backward = RunScores.of_outcomes(played), RunScores.of_outcomes(reversed(played))
    assert baseline_text(snapshot(forward)) == baseline_text(snapshot(backward))


def test_another_outcome_changes_one_line() -> None:
    outcomes = alternating(5)
    one = baseline_text(snapshot(run(*outcomes))).splitlines()
    two = baseline_text(snapshot(run(1 - outcomes[0], *outcomes[1:]))).splitlines()
    assert sum(a != b for a, b in zip(one, two, strict=True)) == 1


def test_400_episodes_are_small() -> None:
    scores = RunScores.of_outcomes(
        episode(
            1.0, *place, episode_return=0.8734375, num_steps=43, input_tokens=54321,
            output_tokens=4321, cost=0.0123456789,
        )
        for place in itertools.product(VARIANTS, ALL_TASKS, range(200, 220))
    )  # fmt: skip
    assert len(baseline_text(snapshot(scores))) < 450_000


def test_blessing_again_replaces_the_file(tmp_path: Path) -> None:
    path = tmp_path / "main.json"
    save_baseline(path, snapshot(run(0.0)))
    save_baseline(path, snapshot(run(1.0)))
    assert load_baseline(path).scores == run(1.0)


def test_directories_are_made_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "config" / "baselines" / "main.json"
    save_baseline(path, snapshot())
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are POSIX")
def test_a_baseline_can_be_read_by_others(tmp_path: Path) -> None:
    save_baseline(tmp_path / "main.json", snapshot())
    assert stat.S_IMODE((tmp_path / "main.json").stat().st_mode) == 0o644


def test_a_run_that_is_no_baseline_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "main.json"
    save_baseline(path, snapshot())
    before = path.read_bytes()
    broken = snapshot(RunScores.of_outcomes([episode(1.0, episode_return=math.nan)]))
    with pytest.raises(BaselineError, match="episode_return of history-goto-200 is nan"):
        save_baseline(path, broken)
    assert path.read_bytes() == before


def test_an_empty_run_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(BaselineError, match="without episodes cannot become a baseline"):
        save_baseline(tmp_path / "main.json", snapshot(RunScores.of_outcomes([])))


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BaselineError, match=r"main.json: cannot be written: "):
        save_baseline(tmp_path / "file" / "main.json", snapshot())


def test_a_baseline_is_journal_lines_without_steps() -> None:
    head, *lines = baseline_text(snapshot()).splitlines()
    assert json.loads(head)["pytest_babyai_baseline"] == 2
    entries = [Entry.from_line(line) for line in lines]
    assert len(entries) == 40
    assert not any(entry.outcome.steps for entry in entries)


def test_repeats_of_an_episode_are_told_apart() -> None:
    twice = RunScores.of_outcomes([episode(1.0), episode(0.0)])
    _, *lines = baseline_text(snapshot(twice)).splitlines()
    assert [Entry.from_line(line).key.repeat for line in lines] == [0, 1]


def test_a_run_with_errors_is_blessed_only_if_told_to(tmp_path: Path) -> None:
    path = tmp_path / "main.jsonl"
    broken = snapshot(RunScores.of_outcomes([episode(1.0), failed(seed=201)]))
    with pytest.raises(BaselineError, match=r"1 of 2 episodes are errors; .* --babyai-save-errors"):
        save_baseline(path, broken)
    assert not path.exists()
    save_baseline(path, broken, allow_errors=True)
    assert load_baseline(path).scores.num_errors == 1


ROW = [200, 1.0, 0.9, 8, None, None, None]
FIRST_VERSION: dict[str, Any] = {
    "pytest_babyai_baseline": 1,
    "model": "gpt-4o-mini",
    "offline": False,
    "settings": {"environment": "builtin", "history_length": 8, "num_dists": 0},
    "versions": {"minigrid": "3.0.0", "pytest-babyai": "0.1.0"},
    "variants": {"history": "ab12cd34ef"},
    "tasks": ["goto"],
    "levels": {"goto": {"200": "00000000000000c8"}},
    "columns": [
        "seed", "progression", "return", "steps", "input_tokens", "output_tokens", "cost",
    ],
    "episodes": {"history": {"goto": [ROW]}},
    "errors": {"history": {"goto": [[201, "rate limit"]]}},
}  # fmt: skip


def changed(**changes: Any) -> str:
    return json.dumps({**FIRST_VERSION, **changes}, indent=1)


def test_a_file_of_the_first_version_is_still_read(tmp_path: Path) -> None:
    (tmp_path / "main.json").write_text(changed(later=[1, 2]))
    found = load_baseline(find_baseline("main", tmp_path))
    played = episode(1.0, layout_fingerprint="00000000000000c8")
    assert found == snapshot(
        RunScores.of_outcomes([played, failed(seed=201)]),
        fingerprints={("goto", 200): "00000000000000c8"},
        models=(),
    )


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "Expecting property name"),
        ("{\n<<<<<<< HEAD", "Expecting property name"),
        ("", "Expecting value"),
        ("[]", "this is none of pytest-babyai; write one with --babyai-save=NAME"),
        ('{"a": 1}', "this is none of pytest-babyai"),
        ("[" * 100_000, "nested too deeply"),
        ('{"pytest_babyai_baseline": 3}', "baseline schema 3, and this pytest-babyai reads up"),
        (changed(pytest_babyai_baseline="x"), "'x' is no schema of baselines; expected 2"),
        (changed(pytest_babyai_baseline=0), "0 is no schema of baselines"),
        (changed(model=3), "'model': found 3"),
        (changed(offline="no"), "'offline': found 'no'"),
        (changed(settings=[]), r"'settings': found \[\]"),
        (changed(columns=["seed"]), "expected the columns seed, progression"),
        (changed(levels={"goto": {"x": "ab"}}), "invalid literal for int"),
        (changed(episodes={"a": {"goto": [[200]]}}), "not enough values"),
        (changed(episodes={"a": {"goto": [["x", *ROW[1:]]]}}), r"expected \[seed, "),
        (changed(episodes={"a": {"goto": [[200, 2.0, *ROW[2:]]]}}), r"expected \[seed, "),
        (changed(episodes={"a": []}), "no baseline, or a damaged one"),
        (
            json.dumps({**FIRST_VERSION, "pytest_babyai_baseline": 2}) + "\n{}",
            "damaged one: line 2: ",
        ),
    ],
)
def test_what_is_no_baseline_is_refused_in_one_line(
    tmp_path: Path, content: str, problem: str
) -> None:
    path = tmp_path / "main.json"
    path.write_text(content)
    with pytest.raises(BaselineError, match=problem) as caught:
        load_baseline(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_binary_file_is_no_baseline(tmp_path: Path) -> None:
    (tmp_path / "main.json").write_bytes(b"\xff\xfe")
    with pytest.raises(BaselineError, match="no baseline, or a damaged one"):
        load_baseline(tmp_path / "main.json")


def test_a_directory_is_no_baseline(tmp_path: Path) -> None:
    with pytest.raises(BaselineError, match="cannot be read: "):
        load_baseline(tmp_path)


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    taken = tmp_path / "main.json"
    taken.mkdir()
    with pytest.raises(BaselineError, match=r"main.json: cannot be written: "):
        save_baseline(taken, snapshot())
    assert list(tmp_path.iterdir()) == [taken]


def test_a_name_stands_for_a_file_of_the_directory(tmp_path: Path) -> None:
    assert baseline_path("main", tmp_path) == tmp_path / "main.jsonl"


@pytest.mark.parametrize("text", ["other/main", "main.json", "main.jsonl", "./main"])
def test_a_path_is_taken_as_it_is(tmp_path: Path, text: str) -> None:
    assert not baseline_path(text, tmp_path).is_relative_to(tmp_path)


@pytest.mark.parametrize("text", ["", "..", "-main", "a b", ".main"])
def test_a_name_of_other_characters_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(
        BaselineError, match=r"^--babyai-save: .* is no name of a baseline: letters"
    ):
        baseline_path(text, tmp_path)


def test_a_baseline_is_found_by_name(tmp_path: Path) -> None:
    save_baseline(tmp_path / "main.json", snapshot())
    assert find_baseline("main", tmp_path) == tmp_path / "main.json"
    save_baseline(tmp_path / "main.jsonl", snapshot())
    assert find_baseline("main", tmp_path) == tmp_path / "main.jsonl"


def test_a_mistyped_name_gets_the_closest_one(tmp_path: Path) -> None:
    save_baseline(tmp_path / "main.json", snapshot())
    with pytest.raises(BaselineError, match=r"^--babyai-compare: no baseline 'mian' .*'main'\?$"):
        find_baseline("mian", tmp_path)


def test_where_there_is_no_baseline_one_is_told_how_to_write_it(tmp_path: Path) -> None:
    with pytest.raises(BaselineError, match=r"write one with --babyai-save=NAME$"):
        find_baseline("main", tmp_path / "missing")


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(BaselineError, match=r"there is no file .*gone.json$"):
        find_baseline(str(tmp_path / "gone.json"), tmp_path)
