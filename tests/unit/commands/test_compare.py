"""``compare``: what it takes, what it prints, and the exit code that decides."""

from __future__ import annotations

import dataclasses
import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest

from pytest_babyai.__main__ import main
from pytest_babyai.gate import save_baseline
from pytest_babyai.journal import (
    RUNS_DIRECTORY,
    Entry,
    EpisodeKey,
    Manifest,
    VariantDefinition,
    create_run,
    open_run,
)
from pytest_babyai.journal.manifest import MANIFEST_FILE
from pytest_babyai.records import EpisodeResult, EpisodeSpec
from pytest_babyai.reporting.recorded import recorded_snapshot
from tests.unit.journal.journal_samples import RECORDING, session
from tests.unit.reporting.reporting_samples import failure, result, solved

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pytest_babyai.records import EpisodeOutcome

SEEDS = range(200, 212)
TASKS = ("goto", "open")


def outcomes(
    num_solved_of_ten: int, *, seeds: Iterable[int] = SEEDS, variant: str = "history"
) -> list[EpisodeOutcome]:
    """Returns an episode per task and seed, so many of ten of which are solved."""
    played: list[EpisodeOutcome] = []
    for number, (seed, task) in enumerate(itertools.product(seeds, TASKS)):
        make = solved if (number * 7) % 10 < num_solved_of_ten else result
        spec = EpisodeSpec(variant, task, seed)
        played.append(make(spec, layout_fingerprint=f"{seed}-{task}"))
    return played


class Project:
    """A project whose command line is called in this process."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root = root
        self.runs = root / RUNS_DIRECTORY
        self.baselines = root / "config" / "baselines"
        (root / "config").mkdir()
        (root / "config" / "tensorzero.toml").write_text("")
        self._capsys = capsys
        self.err = ""

    def play(self, played: Iterable[EpisodeOutcome], **changes: Any) -> str:
        """Records a run; returns its id."""
        played = list(played)
        of_session = {"settings": {"num_dists": 0}, "num_selected": len(played)}
        fields: dict[str, Any] = {
            "model_label": "demo",
            "offline": False,
            "variants": {"history": VariantDefinition("ab12")},
            "sessions": (session(**of_session | changes.pop("session", {})),),
        }
        with create_run(self.runs, Manifest(**fields | changes), RECORDING) as journal:
            for outcome in played:
                spec = outcome.spec
                key = EpisodeKey(spec.variant, "ab12", spec.task, spec.seed)
                journal.append(Entry(key, outcome, f"t.py::t[{spec}]", "demo"))
        return journal.run_id

    def bless(self, run: str, name: str = "main") -> Path:
        """Makes a run a baseline; returns its file."""
        path = self.baselines / f"{name}.json"
        save_baseline(path, recorded_snapshot(open_run(self.runs, run)))
        return path

    def compare(self, *arguments: str, code: int = 0) -> str:
        """Runs the command, which has to end with the given code; returns what it printed."""
        ended = main(["compare", *arguments, "--root", str(self.root)])
        printed = self._capsys.readouterr()
        self.err = printed.err
        assert ended == code, printed.out + printed.err
        return printed.out

    def refusal(self, *arguments: str) -> str:
        """Runs the command, which has to be refused in one line; returns that line."""
        assert self.compare(*arguments, code=4) == ""
        assert self.err.count("\n") == 1
        return self.err.removeprefix("pytest_babyai compare: ").rstrip("\n")


@pytest.fixture
def project(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Project:
    monkeypatch.setenv("COLUMNS", "160")
    return Project(tmp_path, capsys)


@pytest.fixture
def pair(project: Project) -> tuple[str, str]:
    """A good run, and a bad one after it."""
    return project.play(outcomes(9)), project.play(outcomes(2))


def test_two_runs_are_compared(project: Project, pair: tuple[str, str]) -> None:
    good, bad = pair

    printed = project.compare(good, bad)

    assert f"Compared with run {good}" in printed
    assert "history is worse: success, progression (exploratory), return (exploratory)" in printed


def test_the_second_one_is_the_candidate(project: Project, pair: tuple[str, str]) -> None:
    assert "history is better: success" in project.compare(*reversed(pair))


@pytest.mark.parametrize("word", ["latest", "end"])
def test_a_run_is_named_by_its_end_or_as_the_latest(
    project: Project, pair: tuple[str, str], word: str
) -> None:
    good, bad = pair
    name = "latest" if word == "latest" else bad[-6:]

    assert "history is worse" in project.compare(good, name)


@pytest.mark.parametrize("is_path", [False, True])
def test_a_baseline_is_named_or_found_by_its_path(
    project: Project, pair: tuple[str, str], *, is_path: bool
) -> None:
    path = project.bless(pair[0])
    name = str(path) if is_path else "main"

    assert f"Compared with baseline {name}" in project.compare(name, "latest").replace("\n  ", "")


def test_two_baselines_are_compared(project: Project, pair: tuple[str, str]) -> None:
    project.bless(pair[0], "old")
    project.bless(pair[1], "new")

    assert "history is worse" in project.compare("old", "new")


def test_baselines_may_be_elsewhere(project: Project, pair: tuple[str, str]) -> None:
    path = project.bless(pair[0])
    elsewhere = project.root / "other" / "baselines"
    elsewhere.mkdir(parents=True)
    path.rename(elsewhere / "main.jsonl")

    printed = project.compare("main", "latest", f"--config={elsewhere.parent}")

    assert "Compared with baseline main" in printed


def test_a_run_compared_with_itself_has_no_difference(
    project: Project, pair: tuple[str, str]
) -> None:
    printed = project.compare(pair[0], pair[0], "--fail=success<-0.3")

    assert " 0.0 [-" in printed
    assert "1 gate: 0 failed, 0 inconclusive, 1 passed" in printed


def test_a_gate_that_fails_decides_the_exit_code(project: Project, pair: tuple[str, str]) -> None:
    printed = project.compare(*pair, "--fail=success<-0.05@95%", code=1)

    assert "FAILED history:success<-0.05: success changed by " in printed


def test_gates_that_pass_or_cannot_tell_do_not(project: Project, pair: tuple[str, str]) -> None:
    rules = ["--fail=success<0", "--fail=errors<=0, success>=0.9"]

    printed = project.compare(*reversed(pair), *rules)

    assert "3 gates: 0 failed, 1 inconclusive, 2 passed" in printed


def test_no_gates_leave_no_word_of_gates(project: Project, pair: tuple[str, str]) -> None:
    assert "gate" not in project.compare(*pair)


def test_details_are_a_table_per_variant(project: Project, pair: tuple[str, str]) -> None:
    printed = project.compare(*pair, "-v")

    assert "history: 24 pairs of 12 seeds" in printed
    assert "detectable" in printed


def test_one_metric_is_a_line_per_variant(project: Project, pair: tuple[str, str]) -> None:
    printed = project.compare(*pair, "--metric=success")

    assert printed.splitlines()[0] == f"Δ success % against run {pair[0]} (95 %):"
    assert len(printed.splitlines()) == 2


def test_a_margin_makes_small_differences_tied(project: Project, pair: tuple[str, str]) -> None:
    assert "worse" not in project.compare(*pair, "--metric=success", "--margin=1")


@pytest.mark.parametrize("written", ["nan", "-1", "1.5", "5%"])
def test_a_wrong_margin_is_one_line(project: Project, pair: tuple[str, str], written: str) -> None:
    line = project.refusal(*pair, f"--margin={written}")

    assert line == f"--margin: expected a number from 0 to 1, found {written!r}"


def test_differences_between_the_runs_are_named(project: Project) -> None:
    project.play(outcomes(5), model_label="old")
    project.play(outcomes(5), model_label="new", variants={"history": VariantDefinition("cd34")})
    first, second = sorted(path.name for path in project.runs.glob("2*"))

    printed = project.compare(first, second)

    assert "model old -> new" in printed
    assert "variant history changed (ab12 -> cd34)" in printed


@pytest.mark.parametrize("options", [[], ["--metric=success"]])
def test_a_run_that_is_not_complete_is_named(project: Project, options: list[str]) -> None:
    whole = project.play(outcomes(5))
    part = project.play(outcomes(5, seeds=SEEDS[:3]), session={"num_selected": 24})

    printed = project.compare(whole, part, *options)

    assert f"run {part} is not complete: 6 of 24 episodes played" in printed


def test_lines_that_cannot_be_read_are_named(project: Project, pair: tuple[str, str]) -> None:
    file = project.runs / pair[1] / "episodes.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([*lines[:-1], "rubbish\n"]))

    printed = project.compare(*pair).replace("\n  ", " ")

    assert f"run {pair[1]} is not complete: 23 of 24 episodes played" in printed
    assert f"run {pair[1]}: 1 damaged line left out" in printed


def test_the_comparison_is_written_as_markdown(project: Project, pair: tuple[str, str]) -> None:
    file = project.root / "compared.md"

    printed = project.compare(*pair, "--fail=success<0", f"--md={file}", code=1)

    text = file.read_text(encoding="utf-8")
    assert f"{file} written" in printed
    assert text.startswith("### BabyAI-Text: 6 of 24 episodes solved, 1 gate failed")
    assert f"Δ success % against run {pair[0]}" in text


def test_markdown_tells_what_differs(project: Project, pair: tuple[str, str]) -> None:
    file = project.root / "compared.md"
    project.play(outcomes(5), model_label="new")

    project.compare(pair[0], "latest", f"--md={file}")

    assert "\n> model demo -\\> new\n" in file.read_text(encoding="utf-8")


def test_markdown_of_a_baseline_is_one_line(project: Project, pair: tuple[str, str]) -> None:
    project.bless(pair[1])

    line = project.refusal(pair[0], "main", f"--md={project.root / 'compared.md'}")

    assert line == "--md: B has to be a run, and baseline main keeps scores only"


def test_markdown_that_cannot_be_written_is_one_line(
    project: Project, pair: tuple[str, str]
) -> None:
    line = project.refusal(*pair, f"--md={project.root}")

    assert line == f"--md: {project.root} is a directory; give the name of a file"


def test_a_name_that_is_neither_is_one_line(project: Project, pair: tuple[str, str]) -> None:
    project.bless(pair[0])

    line = project.refusal("mian", "latest")

    assert line == (
        f"'mian' is no run in {project.runs} and no baseline in {project.baselines}; "
        "did you mean 'main'?"
    )


def test_a_run_is_suggested_as_well(project: Project) -> None:
    run = project.play(outcomes(5))

    assert f"did you mean {run!r}?" in project.refusal(f"{run[:-1]}x", "latest")


def test_an_empty_project_is_one_line(project: Project) -> None:
    assert project.refusal("latest", "main").endswith("; there is none of either yet")


def test_a_word_that_could_be_both_is_one_line(project: Project, pair: tuple[str, str]) -> None:
    project.bless(pair[0], pair[1][-2:])

    line = project.refusal(pair[1][-2:], "latest")

    assert "and the name of a baseline; write the whole id, or " in line


def test_an_end_that_several_runs_have_is_one_line(project: Project, pair: tuple[str, str]) -> None:
    assert "is ambiguous: " in project.refusal(pair[0][:2], pair[1])


def test_a_path_without_a_file_is_one_line(project: Project, pair: tuple[str, str]) -> None:
    line = project.refusal("there/is/none.json", pair[0])

    assert line == "the reference: there is no file there/is/none.json"


def test_a_missing_configuration_is_one_line(project: Project, pair: tuple[str, str]) -> None:
    assert project.refusal(*pair, "--config=none") == "--config: there is no directory none"


def test_a_damaged_run_is_one_line(project: Project, pair: tuple[str, str]) -> None:
    (project.runs / pair[0] / MANIFEST_FILE).write_text("{")

    assert f"{pair[0]}/manifest.json: " in project.refusal(*pair)


def test_a_baseline_of_another_schema_is_one_line(project: Project, pair: tuple[str, str]) -> None:
    path = project.bless(pair[0])
    head, *lines = path.read_text().splitlines(keepends=True)
    head = json.dumps({**json.loads(head), "pytest_babyai_baseline": 99})
    path.write_text("".join([f"{head}\n", *lines]))

    line = project.refusal("main", "latest")

    assert line.startswith(f"{path}: written with baseline schema 99, and this pytest-babyai reads")


def test_a_baseline_with_nan_is_one_line(project: Project, pair: tuple[str, str]) -> None:
    path = project.bless(pair[0])
    path.write_text(path.read_text().replace("0.9", "NaN", 1))

    line = project.refusal("main", "latest")

    assert line.startswith(f"{path}: no baseline, or a damaged one: line 2: ")
    assert "episode_return" in line


def test_nan_in_a_run_is_a_damaged_line(project: Project, pair: tuple[str, str]) -> None:
    file = project.runs / pair[1] / "episodes.jsonl"
    file.write_text(file.read_text().replace('"episode_return":0.0', '"episode_return":NaN', 1))

    printed = project.compare(*pair, "--fail=return<0, success<0", code=1).replace("\n  ", " ")

    assert f"run {pair[1]}: 1 damaged line left out" in printed


def test_seeds_that_do_not_overlap_are_one_line(project: Project) -> None:
    first, second = project.play(outcomes(5)), project.play(outcomes(5, seeds=(1, 2)))

    assert project.refusal(first, second) == (
        f"run {first}: no task and seed in common: it has seeds 200 to 211 of goto, open, this run "
        "seeds 1 to 2 of goto, open"
    )


def test_other_levels_are_one_line(project: Project) -> None:
    first = project.play(outcomes(5))
    other = [
        dataclasses.replace(each, layout_fingerprint="other")
        for each in outcomes(5)
        if isinstance(each, EpisodeResult)
    ]

    line = project.refusal(first, project.play(other))

    assert line.startswith(f"run {first}: 24 of 24 levels are not the ones of this run (goto-200")


@pytest.mark.parametrize(("first", "second"), [(5, 0), (0, 5)])
def test_an_empty_run_is_one_line(project: Project, first: int, second: int) -> None:
    sides = [project.play(outcomes(5)[:number]) for number in (first, second)]

    assert "episode" in project.refusal(*sides)


def test_one_episode_shows_a_difference_and_decides_nothing(project: Project) -> None:
    one = EpisodeSpec("history", "goto", 200)
    sides = project.play([solved(one)]), project.play([result(one)])

    printed = project.compare(*sides, "--fail=success<0, success>=0.5")

    assert "-100.0 undecided" in printed
    assert "2 gates: 0 failed, 2 inconclusive, 0 passed" in printed


def test_errors_alone_decide_nothing(project: Project) -> None:
    good = project.play(outcomes(5))
    broken = project.play(failure(each.spec) for each in outcomes(5))

    printed = project.compare(good, broken, "--fail=success<0")

    assert "no episode in this run has a score: 24 errors" in printed
    assert "errors %" in printed


def test_a_gate_may_be_about_errors(project: Project) -> None:
    good = project.play(outcomes(5))
    broken = project.play(failure(each.spec) for each in outcomes(5))

    assert "FAILED history:errors<=0" in project.compare(good, broken, "--fail=errors<=0", code=1)


def test_variants_without_a_counterpart_are_named(project: Project, pair: tuple[str, str]) -> None:
    other = project.play(outcomes(5, variant="terse"))

    printed = project.compare(pair[0], other, "--metric=success")

    assert "No variant has a counterpart in run" in printed


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ("succes<0", "--fail: rule 'succes<0': unknown metric 'succes'; did you mean 'success'?"),
        ("success<0.05", "--fail: rule 'success<0.05': '<0.05' has no sign"),
        ("", "--fail: there is no rule"),
        (
            "hstory:success<0",
            "--fail: rule 'hstory:success<0': unknown variant 'hstory'; did you mean 'history'?",
        ),
        ("*/gto:success<0", "--fail: rule '*/gto:success<0': unknown task 'gto'; did you mean"),
    ],
)
def test_a_rule_with_a_typo_is_one_line(
    project: Project, pair: tuple[str, str], rule: str, problem: str
) -> None:
    assert project.refusal(*pair, f"--fail={rule}").startswith(problem)


def test_a_rule_for_a_task_that_was_not_played_is_inconclusive(
    project: Project, pair: tuple[str, str]
) -> None:
    printed = project.compare(*pair, "--fail=*/pickup:success<0")

    assert "it has no such episode in this run" in printed


def test_a_metric_with_a_typo_is_one_line(project: Project, pair: tuple[str, str]) -> None:
    line = project.refusal(*pair, "--metric=sucess")

    assert line == "--metric: unknown metric 'sucess'; did you mean 'success'?"


def test_levels_that_differ_within_a_run_are_one_line(
    project: Project, pair: tuple[str, str]
) -> None:
    one = EpisodeSpec("history", "goto", 200)
    other = EpisodeSpec("terse", "goto", 200)
    mixed = project.play(
        [solved(one, layout_fingerprint="1"), solved(other, layout_fingerprint="2")]
    )

    line = project.refusal(pair[0], mixed)

    assert line.startswith("the episodes of goto-200 were played on different levels")
