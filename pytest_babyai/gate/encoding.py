"""Baselines as JSON types: what stands where, and what is refused."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any, Final

from pytest_babyai.gate.scores import RunScores, ScoredEpisode, UnscoredEpisode
from pytest_babyai.gate.snapshot import RunSnapshot
from pytest_babyai.records import EpisodeSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pytest_babyai.gate.metrics import Pair

SCHEMA: Final = 1
"""Version of baseline files. Fields may be added to it; a changed meaning makes a new one."""

_MARK: Final = "pytest_babyai_baseline"
_COLUMNS: Final = (
    "seed", "progression", "return", "steps", "input_tokens", "output_tokens", "cost",
)  # fmt: skip
_ERROR_COLUMNS: Final = ("seed", "kind")
_OPTIONAL: Final = ("input_tokens", "output_tokens", "cost")


def baseline_record(snapshot: RunSnapshot) -> dict[str, Any]:
    """Returns a run as JSON types, ordered so that equal runs give equal texts.

    Raises:
        ValueError: A value is not finite.
    """
    episodes = snapshot.scores.episodes
    scored = [episode for episode in episodes if isinstance(episode, ScoredEpisode)]
    unscored = [episode for episode in episodes if isinstance(episode, UnscoredEpisode)]
    pairs = sorted(snapshot.fingerprints.items())
    return {
        _MARK: SCHEMA,
        "model": snapshot.model_label,
        "offline": snapshot.offline,
        "models": list(snapshot.models),
        "settings": _sorted(snapshot.settings),
        "versions": _sorted(snapshot.versions),
        "variants": {name: snapshot.variant_hashes.get(name) for name in snapshot.scores.variants},
        "tasks": list(snapshot.scores.tasks),
        "levels": {
            task: {str(seed): text for (_, seed), text in group}
            for task, group in itertools.groupby(pairs, key=lambda item: item[0][0])
        },
        "columns": list(_COLUMNS),
        "episodes": _nested((episode.spec, _row(episode)) for episode in scored),
        "errors": _nested(
            (episode.spec, [episode.spec.seed, episode.kind]) for episode in unscored
        ),
    }


def baseline_from_record(record: Any) -> RunSnapshot:
    """Reads what `baseline_record` gives; fields that this version does not know are left out.

    Raises:
        ValueError: It is something else; the text says what was found where.
    """
    _check_schema(record)
    rows = _rows(record, "episodes")
    columns = record.get("columns")
    if columns != list(_COLUMNS):
        raise ValueError(f"expected the columns {', '.join(_COLUMNS)}, found {columns!r}")
    scored = [_scored(variant, task, row) for variant, task, row in rows]
    unscored = [_unscored(*place) for place in _rows(record, "errors")]
    hashes = _mapping(record, "variants", str, optional=True)
    return RunSnapshot(
        model_label=_value(record, "model", str),
        offline=_value(record, "offline", bool),
        settings=_value(record, "settings", dict),
        versions=_mapping(record, "versions", str, optional=True),
        variant_hashes={name: text for name, text in hashes.items() if text is not None},
        fingerprints=dict(_fingerprints(record)),
        scores=RunScores.of(
            [*scored, *unscored], variants=list(hashes), tasks=_value(record, "tasks", list)
        ),
        models=tuple(map(str, record.get("models") or ())),
    )


def _check_schema(record: Any) -> None:
    if not isinstance(record, dict) or _MARK not in record:
        raise ValueError("this is no baseline of pytest-babyai; write one with --babyai-save=NAME")
    found = record[_MARK]
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise ValueError(f"{found!r} is no schema of baselines; expected {SCHEMA}")
    if found > SCHEMA:
        raise ValueError(
            f"written with baseline schema {found}, and this pytest-babyai reads up to {SCHEMA}; "
            "upgrade it, or bless a run anew"
        )


def _row(episode: ScoredEpisode) -> list[Any]:
    row = [
        episode.spec.seed,
        episode.progression,
        episode.episode_return,
        episode.num_steps,
        episode.input_tokens,
        episode.output_tokens,
        episode.cost,
    ]
    for column, value in zip(_COLUMNS, row, strict=True):
        if value is not None and not math.isfinite(value):
            raise ValueError(f"{column} of {episode.spec} is {value}; a baseline needs a number")
    return row


def _nested(rows: Iterable[tuple[EpisodeSpec, list[Any]]]) -> dict[str, dict[str, list[Any]]]:
    nested: dict[str, dict[str, list[Any]]] = {}
    for spec, row in rows:
        nested.setdefault(spec.variant, {}).setdefault(spec.task, []).append(row)
    return nested


def _sorted(values: Mapping[str, Any]) -> dict[str, Any]:
    return dict(sorted(values.items()))


def _value(record: dict[str, Any], name: str, kind: type) -> Any:
    if name not in record:
        raise ValueError(f"{name!r} is missing; bless a run anew")
    if not isinstance(record[name], kind):
        raise ValueError(f"{name!r}: expected {_KINDS[kind]}, found {record[name]!r:.60}")
    return record[name]


_KINDS: Final = {str: "text", bool: "true or false", dict: "an object", list: "a list"}


def _mapping(
    record: dict[str, Any], name: str, kind: type, *, optional: bool = False
) -> dict[str, Any]:
    mapping: dict[str, Any] = _value(record, name, dict)
    for key, value in mapping.items():
        if not (optional and value is None):
            _value({f"{name}.{key}": value}, f"{name}.{key}", kind)
    return mapping


def _rows(record: dict[str, Any], name: str) -> Iterator[tuple[str, str, list[Any]]]:
    for variant, by_task in _mapping(record, name, dict).items():
        for task, rows in _mapping({variant: by_task}, variant, list).items():
            for row in rows:
                yield variant, task, row


def _fingerprints(record: dict[str, Any]) -> Iterator[tuple[Pair, str]]:
    for task, by_seed in _mapping(record, "levels", dict).items():
        for seed, text in _mapping({task: by_seed}, task, str).items():
            if not seed.isdecimal():
                raise ValueError(f"levels of {task}: expected a seed, found {seed!r}")
            yield (task, int(seed)), text


def _scored(variant: str, task: str, row: Any) -> ScoredEpisode:
    if not isinstance(row, list) or len(row) != len(_COLUMNS):
        expected = ", ".join(_COLUMNS)
        raise ValueError(
            f"episodes of {variant} on {task}: expected [{expected}], found {row!r:.80}"
        )
    for column, value in zip(_COLUMNS, row, strict=True):
        if not _fits(column, value):
            raise ValueError(
                f"episodes of {variant} on {task}: {value!r:.40} is no {column} in {row!r:.80}"
            )
    return ScoredEpisode(EpisodeSpec(variant, task, row[0]), *row[1:])


def _unscored(variant: str, task: str, row: Any) -> UnscoredEpisode:
    if (
        not isinstance(row, list)
        or len(row) != len(_ERROR_COLUMNS)
        or not _fits("seed", row[0])
        or not isinstance(row[1], str)
    ):
        expected = ", ".join(_ERROR_COLUMNS)
        raise ValueError(f"errors of {variant} on {task}: expected [{expected}], found {row!r:.80}")
    return UnscoredEpisode(EpisodeSpec(variant, task, row[0]), row[1])


def _fits(column: str, value: Any) -> bool:
    if value is None:
        return column in _OPTIONAL
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    if column in {"seed", "steps", "input_tokens", "output_tokens"}:
        return isinstance(value, int) and value >= 0
    if column == "progression":
        return 0 <= value <= 1
    return math.isfinite(value) and (column == "return" or value >= 0)
