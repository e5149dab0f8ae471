"""How long episodes took before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_babyai.journal import create_run, past_durations
from tests.unit.journal.journal_samples import RECORDING, entry, failure, key, manifest, result

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_babyai.journal import Entry


def by_task(root: Path, *arguments: Any, **options: Any) -> dict[tuple[str | int, ...], float]:
    found = past_durations(root, *arguments, **options)
    return {key: duration_s for key, duration_s in found.items() if len(key) == 2}


def lasting(duration_s: float, **fields: Any) -> Entry:
    of = key(**fields)
    return entry(key=of, outcome=result(of, duration_s=duration_s))


def write(root: Path, *entries: Entry, model_label: str = "offline") -> Path:
    with create_run(root, manifest(model_label=model_label), RECORDING) as journal:
        for one in entries:
            journal.append(one)
    return journal.log.path


def test_the_median_by_variant_and_task_over_runs(tmp_path: Path) -> None:
    write(tmp_path, lasting(1.0), lasting(2.0), lasting(5.0, task="open"))
    write(tmp_path, lasting(9.0), lasting(7.0, variant="history"))

    assert by_task(tmp_path) == {
        ("baseline", "goto"): 2.0,
        ("baseline", "open"): 5.0,
        ("history", "goto"): 7.0,
    }


def test_the_median_by_seed(tmp_path: Path) -> None:
    write(tmp_path, lasting(1.0, seed=3), lasting(5.0, seed=4))
    write(tmp_path, lasting(3.0, seed=3))

    durations_s = past_durations(tmp_path)

    assert durations_s["baseline", "goto", 3] == 2.0
    assert durations_s["baseline", "goto", 4] == 5.0


def test_failures_tell_nothing_about_durations(tmp_path: Path) -> None:
    write(tmp_path, lasting(1.0), entry(outcome=failure(key(), duration_s=99.0)))

    assert by_task(tmp_path) == {("baseline", "goto"): 1.0}


def test_only_the_newest_runs_and_a_part_of_each_are_read(tmp_path: Path) -> None:
    write(tmp_path, lasting(1.0, task="open"))
    write(tmp_path, lasting(2.0), lasting(99.0))
    write(tmp_path, lasting(4.0))

    assert by_task(tmp_path, num_runs=2, num_entries=1) == {("baseline", "goto"): 3.0}


def test_other_models_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, lasting(1.0))
    write(tmp_path, lasting(50.0), model_label="gpt")

    assert by_task(tmp_path, "gpt") == {("baseline", "goto"): 50.0}


def test_a_run_of_a_later_version_spoils_nothing(tmp_path: Path) -> None:
    write(tmp_path, lasting(1.0))
    path = write(tmp_path, lasting(2.0))
    path.write_bytes(path.read_bytes().replace(b'"schema":1', b'"schema":2'))

    assert by_task(tmp_path) == {("baseline", "goto"): 1.0}


def test_without_runs_nothing_is_known(tmp_path: Path) -> None:
    assert by_task(tmp_path / "missing") == {}
