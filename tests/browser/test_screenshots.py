"""Pictures of reports by a headless browser."""

from __future__ import annotations

import shutil
import struct
from typing import TYPE_CHECKING

import pytest

from pytest_babyai.errors import SettingsError
from pytest_babyai.reporting import screenshots
from pytest_babyai.reporting.screenshots import take_screenshot
from tests.browser.conftest import cannot_run

if TYPE_CHECKING:
    from pathlib import Path


def test_a_picture_has_twice_the_size_of_its_window(tmp_path: Path) -> None:
    if not any(map(shutil.which, screenshots.BROWSERS)):
        cannot_run("no Chromium on PATH")
    report = tmp_path / "report.html"
    report.write_text("<!doctype html><title>t</title><p>Hello")
    take_screenshot(report, tmp_path / "picture.png", width=700, height=500)
    header = (tmp_path / "picture.png").read_bytes()[:24]
    assert header.startswith(b"\x89PNG")
    assert struct.unpack(">II", header[16:24]) == (1400, 1000)


def test_a_missing_browser_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SettingsError, match="needs a browser on PATH: one of chromium, "):
        take_screenshot(tmp_path / "report.html", tmp_path / "picture.png")
