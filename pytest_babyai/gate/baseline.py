"""Baselines: blessed runs as small JSON files that are meant to be committed.

A name stands for ``<configuration directory>/baselines/NAME.json``, beside the templates whose
behaviour it records. There is one line per episode and no time or path in it: the same run gives
the same bytes, and a diff shows the episodes that changed. 400 episodes take 28 kB. Nothing but
`save_baseline` writes one.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_babyai.errors import BaselineError, did_you_mean
from pytest_babyai.gate.encoding import baseline_from_record, baseline_record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_babyai.gate.snapshot import RunSnapshot

BASELINES_DIRECTORY: Final = "baselines"
"""Where named baselines are kept, relative to the configuration directory."""

_NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]*")
_FILE_MODE: Final = 0o644


def baseline_path(text: str, directory: Path, *, place: str = "--babyai-save") -> Path:
    """Returns the file that a name or path stands for, whether it exists or not.

    Args:
        text: A name such as ``main``, or a path: with a separator or the ending ``.json``.
        directory: Where names are kept.
        place: Option for error lines.

    Raises:
        BaselineError: It is neither name nor path.
    """
    if _is_path(text):
        return Path(text).expanduser()
    if not _NAME.fullmatch(text):
        raise BaselineError(
            f"{place}: {text!r} is no name of a baseline: letters, digits, '.', '_' and '-'"
        )
    return directory / f"{text}.json"


def find_baseline(text: str, directory: Path, *, place: str = "--babyai-compare") -> Path:
    """Returns the existing file that a name or path stands for; as `baseline_path`.

    Raises:
        BaselineError: There is no such file; the line names the closest one.
    """
    path = baseline_path(text, directory, place=place)
    if path.is_file():
        return path
    if _is_path(text):
        raise BaselineError(f"{place}: there is no file {path}")
    names = sorted(each.stem for each in directory.glob("*.json"))
    hint = did_you_mean(text, names) if names else "write one with --babyai-save=NAME"
    raise BaselineError(f"{place}: no baseline {text!r} in {directory}; {hint}")


def save_baseline(path: Path, snapshot: RunSnapshot) -> None:
    """Writes a run as a baseline, in the place of an older one.

    Readers and crashes see the old file or the new one, never a part.

    Raises:
        BaselineError: The run has no episode or a value that is not finite, or the file cannot be
            written; an older one is still there.
    """
    if not snapshot.scores.episodes:
        raise BaselineError(f"{path}: a run without episodes cannot become a baseline")
    try:
        content = baseline_text(snapshot).encode("ascii")
    except ValueError as error:
        raise BaselineError(f"{path}: {error}") from None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, content)
    except OSError as error:
        raise BaselineError(f"{path}: cannot be written: {error.strerror or error}") from None


def load_baseline(path: Path) -> RunSnapshot:
    """Reads a baseline.

    Raises:
        BaselineError: There is no such file, or it is no baseline that this version reads.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
        return baseline_from_record(record)
    except OSError as error:
        raise BaselineError(f"{path}: cannot be read: {error.strerror or error}") from None
    except json.JSONDecodeError as error:
        raise BaselineError(f"{path}:{error.lineno}: malformed JSON: {error.msg}") from None
    except UnicodeDecodeError:
        raise BaselineError(f"{path}: not UTF-8 text, so no baseline") from None
    except RecursionError:
        raise BaselineError(f"{path}: nested too deeply for a baseline") from None
    except ValueError as error:
        raise BaselineError(f"{path}: {error}") from None


def baseline_text(snapshot: RunSnapshot) -> str:
    """Returns the content of a baseline file: ASCII, one line per episode.

    Raises:
        ValueError: A value is not finite.
    """
    return "".join(_json_lines(baseline_record(snapshot))) + "\n"


def _json_lines(value: Any, indent: str = "") -> Iterator[str]:
    # As json.dumps with indent=1, but rows of an episode stay on their line.
    inner = indent + " "
    if isinstance(value, dict) and value:
        for number, (name, part) in enumerate(value.items()):
            yield f"{',' if number else '{'}\n{inner}{json.dumps(name)}: "
            yield from _json_lines(part, inner)
        yield f"\n{indent}}}"
    elif isinstance(value, list) and value and isinstance(value[0], list):
        for number, row in enumerate(value):
            yield f"{',' if number else '['}\n{inner}{json.dumps(row, allow_nan=False)}"
        yield f"\n{indent}]"
    else:
        yield json.dumps(value, allow_nan=False)


def _replace(path: Path, content: bytes) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 -- opened already
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(_FILE_MODE)  # mkstemp's files are for their owner alone
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _is_path(text: str) -> bool:
    return "/" in text or os.sep in text or text.endswith(".json")


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is no number of a baseline")
