"""Pictures of HTML reports, taken by a headless Chromium."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from typing import TYPE_CHECKING, Final

from pytest_babyai.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--virtual-time-budget=5000",
)
_TIMEOUT_S: Final = 60.0


def take_screenshot(  # noqa: PLR0913 - what a picture shows
    report: Path,
    picture: Path,
    *,
    fragment: str = "",
    width: int = 1400,
    height: int = 1000,
    dark: bool = False,
) -> None:
    """Writes what a browser shows of an HTML report as PNG.

    Args:
        report: The HTML file.
        picture: The PNG file; overwritten if it is there.
        fragment: What follows the ``#`` of the address, such as
            ``episode=history-goto-204&step=7``.
        width: Of the window, in CSS pixels; the picture has twice as many.
        height: As the width.
        dark: Whether the system prefers dark colors.

    Raises:
        SettingsError: There is no Chromium, or it took no picture.
    """
    address = report.resolve().as_uri() + (f"#{fragment}" if fragment else "")
    with tempfile.TemporaryDirectory() as profile:
        command = [
            _browser(),
            *_FLAGS,
            f"--user-data-dir={profile}",
            f"--window-size={width},{height}",
            "--force-device-scale-factor=2",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            f"--screenshot={picture.resolve()}",
            address,
        ]
        picture.unlink(missing_ok=True)
        try:
            done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT_S, check=False)  # noqa: S603 - a browser found on PATH, and no shell
        except subprocess.TimeoutExpired:
            raise SettingsError(f"{picture}: no picture within {_TIMEOUT_S:g} s") from None
    if not picture.is_file():
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise SettingsError(f"{picture}: the browser took no picture: {said[-1]}")


def _browser() -> str:
    for name in BROWSERS:
        if path := shutil.which(name):
            return path
    raise SettingsError(f"a screenshot needs a browser on PATH: one of {', '.join(BROWSERS)}")
