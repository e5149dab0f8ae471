"""The picture of a training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_babyai.errors import SettingsError
from pytest_babyai.reporting.learning_curve import LearningCurve, write_learning_curve

if TYPE_CHECKING:
    from pathlib import Path

CURVE = LearningCurve(
    title="a small model",
    train_loss=[(1, 4.0), (2, 1.0), (3, 0.5)],
    valid_loss=[(3, 0.7)],
    valid_action_accuracy=[(3, 0.8)],
)


def test_an_svg_has_both_panels(tmp_path: Path) -> None:
    write_learning_curve(tmp_path / "new/curve.svg", CURVE)

    text = (tmp_path / "new/curve.svg").read_text(encoding="utf-8")
    assert all(name in text for name in ("a small model", "Loss", "Action accuracy", "80%"))


def test_a_png_is_a_png(tmp_path: Path) -> None:
    write_learning_curve(tmp_path / "curve.png", CURVE)

    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"curve\.gif: expected a name that ends in \.svg or"):
        write_learning_curve(tmp_path / "curve.gif", CURVE)
