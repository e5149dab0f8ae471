"""The files of a project: its configuration directory, and the starting set of the package."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_babyai.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable

CONFIG = "config"
EVALS = "evals"
PYTEST_FILES = ("pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg")
PYTEST_INI = "[pytest]\nasyncio_default_fixture_loop_scope = function\n"
TENSORZERO_FILE = "tensorzero.toml"


def packaged(directory: str) -> Path:
    """Returns the packaged ``config`` or ``evals`` directory.

    An installed package carries them; in a checkout they stand beside it.
    """
    package = Path(__file__).parent
    installed = package / "_project" / directory
    return installed if installed.is_dir() else package.parent / directory


def find_config(
    chosen: Path | None, places: Iterable[Path], *, option: str = "--babyai-config"
) -> Path:
    """Finds the configuration directory.

    Args:
        chosen: The directory that the user named, None for a search.
        places: Directories whose ``config`` is tried, in order, before the packaged one.
        option: Where the user named it, for error lines.

    Raises:
        SettingsError: The chosen directory holds no TensorZero configuration.
    """
    if chosen is None:
        candidates = [place / CONFIG for place in places]
        return next(filter(_is_config, candidates), packaged(CONFIG))
    if not chosen.is_dir():
        raise SettingsError(f"{option}: there is no directory {chosen}")
    if not _is_config(chosen):
        raise SettingsError(f"{option}: {chosen} holds no {TENSORZERO_FILE}")
    return chosen


def _is_config(directory: Path) -> bool:
    return (directory / TENSORZERO_FILE).is_file()


def create_project(target: Path) -> list[Path]:
    """Copies the packaged configuration and evaluation suite, and overwrites nothing.

    A directory without any configuration of pytest's gets a ``pytest.ini`` as well, which makes it
    the root of the project.

    Returns:
        The files written.

    Raises:
        SettingsError: A file to be written exists already, or the target cannot be written.
    """
    copies = [
        (source, target / directory / source.relative_to(packaged(directory)))
        for directory in (CONFIG, EVALS)
        for source in sorted(packaged(directory).rglob("*"))
        if source.is_file() and "__pycache__" not in source.parts
    ]
    present = [destination for _, destination in copies if destination.exists()]
    if present:
        raise SettingsError(f"{present[0]} exists already; nothing was written")
    try:
        for source, destination in copies:
            destination.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, destination)
        written = [destination for _, destination in copies]
        if not any((target / name).exists() for name in PYTEST_FILES):
            written.append(target / PYTEST_FILES[0])
            written[-1].write_text(PYTEST_INI, encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{error.filename}: {error.strerror}") from None
    return written
