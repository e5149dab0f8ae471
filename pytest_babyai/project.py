"""The files of a project: its configuration directory, and the starting set of the package."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pytest_babyai.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable

CONFIG = "config"
EVALS = "evals"
BASELINES = "baselines"
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
    """Finds the TensorZero configuration.

    Args:
        chosen: What the user named: a directory, a file or a glob; None for a search.
        places: Directories whose ``config`` is taken, the first that has one. The packaged one
            stands in where none has.
        option: Where the user named it, for error lines.

    Returns:
        A directory with ``tensorzero.toml``, a file, or a glob.

    Raises:
        SettingsError: The directory holds no TensorZero configuration, or there is none.
    """
    if chosen is None:
        found = next((place / CONFIG for place in places if _keeps_config(place)), None)
        if found is None:
            return packaged(CONFIG)
        if not _is_config(found):
            raise SettingsError(
                f"{found} holds no {TENSORZERO_FILE}; write one (python -m pytest_babyai init), "
                f"or name the configuration: {option or '--babyai-config'}=PATH"
            )
        return found
    if chosen.is_dir():
        if not _is_config(chosen):
            raise SettingsError(
                f"{option}: {chosen} holds no {TENSORZERO_FILE}; name a file or a glob, "
                f"such as {chosen}/**/*.toml"
            )
    elif not chosen.exists() and set("*?[{").isdisjoint(str(chosen)):
        kind = "file" if chosen.suffix else "directory"
        raise SettingsError(f"{option}: there is no {kind} {chosen}")
    return chosen


def _keeps_config(place: Path) -> bool:
    # `--babyai-save` puts baselines there, also where the packaged configuration plays.
    directory = place / CONFIG
    return directory.is_dir() and any(each.name != BASELINES for each in directory.iterdir())


def _is_config(directory: Path) -> bool:
    return (directory / TENSORZERO_FILE).is_file()


class CreatedProject(NamedTuple):
    """What `create_project` did.

    Attributes:
        written: The files that were missing, and now are there.
        left: What was there, and stays as it is.
    """

    written: list[Path]
    left: list[Path]


def create_project(target: Path) -> CreatedProject:
    """Copies what is missing of the packaged configuration and evaluation suite.

    A ``config`` with another ``tensorzero.toml`` is a project of its own, whose prompts and
    settings are none of the package's: it is left whole. A directory without any configuration of
    pytest's gets a ``pytest.ini`` as well, which makes it the root of the project.

    Raises:
        SettingsError: The target cannot be written, or a directory stands where a file is to be.
    """
    directories = [EVALS] if _has_own_config(target) else [CONFIG, EVALS]
    copies = [
        (source, target / directory / source.relative_to(packaged(directory)))
        for directory in directories
        for source in sorted(packaged(directory).rglob("*"))
        if source.is_file() and "__pycache__" not in source.parts
    ]
    left = [target / CONFIG] if CONFIG not in directories else []
    left += [destination for _, destination in copies if destination.exists()]
    missing = [copy for copy in copies if not copy[1].exists()]
    try:
        for source, destination in missing:
            destination.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, destination)
        written = [destination for _, destination in missing]
        if not any((target / name).exists() for name in PYTEST_FILES):
            written.append(target / PYTEST_FILES[0])
            written[-1].write_text(PYTEST_INI, encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{error.filename}: {error.strerror}") from None
    return CreatedProject(written, left)


def _has_own_config(target: Path) -> bool:
    file = target / CONFIG / TENSORZERO_FILE
    return file.is_file() and file.read_bytes() != (packaged(CONFIG) / TENSORZERO_FILE).read_bytes()
