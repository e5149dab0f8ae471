"""The report of ``learn``: that of the evaluation, with training curve and data card in it."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CURVE: Final = "learning-curve.svg"


def write_learning_report(
    root: Path, run_id: str, directory: Path, *, manifest: dict[str, Any], config_dir: Path
) -> Iterator[str]:
    """Writes HTML, Markdown and charts of an evaluation, and what its student was trained on.

    Args:
        root: The project's root.
        run_id: The evaluation.
        directory: Where the files go.
        manifest: Of the fine-tuned variant.
        config_dir: Where baselines are.

    Raises:
        UsageError: The run cannot be read, or a file cannot be written.
    """
    from pytest_babyai.commands.report import write_reports
    from pytest_babyai.journal import RUNS_DIRECTORY, open_run

    files = {
        "html": directory / "report.html",
        "md": directory / "report.md",
        "charts": directory / "charts",
    }
    log = open_run(root / RUNS_DIRECTORY, run_id)
    yield from write_reports(log, files, config_dir=config_dir)
    curve = directory / CURVE
    drawn = list(_draw(root, manifest, curve))
    yield from drawn
    lines = [*_training_lines(manifest), *_card_lines(manifest), *drawn[:1]]
    _append(files["md"], _markdown(lines, curve if drawn else None))
    _insert(files["html"], _section(lines, curve if drawn else None))


def _draw(root: Path, manifest: dict[str, Any], curve: Path) -> Iterator[str]:
    """Draws the training, where the offline server did it; others draw their own."""
    from pytest_babyai.commands.learning_curve import draw_learning_curve
    from pytest_babyai.finetuning.openai import OFFLINE

    if manifest["job"]["provider"] == OFFLINE:
        yield from draw_learning_curve(root, manifest["job"]["id"], curve)


def _training_lines(manifest: dict[str, Any]) -> Iterator[str]:
    job = manifest["job"]
    settled = ", ".join(f"{name} {value}" for name, value in job["hyperparameters"].items())
    yield f"{manifest['variant']} is {manifest['model']}, fine-tuned from {manifest['base_model']}"
    if settled:
        yield f"hyperparameters: {settled}"


def _card_lines(manifest: dict[str, Any]) -> Iterator[str]:
    from pytest_babyai.finetuning.dataset import DataCard

    card = DataCard.from_plain({**manifest["data"], "episodes": manifest["episodes"]})
    yield from card.lines()


def _markdown(lines: list[str], curve: Path | None) -> str:
    picture = f"\n![Loss and accuracy during training]({curve.name})\n" if curve else ""
    listed = "".join(f"- {line.strip()}\n" for line in lines)
    return f"\n## What the student was trained on\n\n{listed}{picture}"


def _section(lines: list[str], curve: Path | None) -> str:
    picture = curve.read_text(encoding="utf-8").partition("<svg") if curve else ("", "", "")
    listed = "".join(f"<li>{html.escape(line.strip())}</li>" for line in lines)
    return (
        '<section id="training"><h2>What the student was trained on</h2>'
        f"<ul>{listed}</ul>{picture[1]}{picture[2]}</section>"
    )


def _append(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def _insert(path: Path, section: str) -> None:
    """Puts a section at the end of a page's main part."""
    page = path.read_text(encoding="utf-8")
    place = "</main>" if "</main>" in page else "</body>"
    before, found, after = page.rpartition(place)
    path.write_text(f"{before}{section}{found}{after}", encoding="utf-8")
