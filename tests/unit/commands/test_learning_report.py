"""The report of ``learn``: the evaluation's, with what the student was trained on in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_babyai.commands.learning_report import write_learning_report
from pytest_babyai.finetuning.job_records import JobRecord, JobRequest
from pytest_babyai.finetuning.variant import _manifest
from tests.unit.finetuning.finetuning_samples import (
    VARIANT,
    dataset_at,
    make_project,
    play,
    record_run,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_data_card_and_hyperparameters_are_part_of_the_report(tmp_path: Path) -> None:
    make_project(tmp_path)
    log = record_run(tmp_path, [play(200), play(201)])
    card = dataset_at(tmp_path / "data.jsonl").card
    request = JobRequest("openai", "gpt-x", "student", {}, card)
    settled = {"n_epochs": 3, "batch_size": 8}
    record = JobRecord("ftjob-1", request, "2026-01-01", "succeeded", "ft:x", 9, settled)
    directory = tmp_path / "report"
    directory.mkdir()

    lines = list(
        write_learning_report(
            tmp_path,
            log.run_id,
            directory,
            manifest=_manifest(record),
            config_dir=tmp_path / "config",
        )
    )

    assert len(lines) == 3
    page = (directory / "report.html").read_text()
    before, _, section = page.partition('<section id="training">')
    assert "student is ft:x, fine-tuned from gpt-x" in section
    assert "hyperparameters: n_epochs 3, batch_size 8" in section
    assert "training: 27 examples of 9 episodes" in section
    assert section.rstrip().endswith("</html>")
    assert VARIANT in before
    text = (directory / "report.md").read_text()
    assert "## What the student was trained on\n\n- student is ft:x" in text
