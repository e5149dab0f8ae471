"""Baselines: blessed runs as small text files that are meant to be committed.

A name stands for ``<configuration directory>/baselines/NAME.jsonl``, beside the templates whose
behaviour it records: a line that says what played, then journal lines without steps, one per
episode. There is no time or path in it: the same run gives the same bytes, and a diff shows the
episodes that changed. Nothing but `save_baseline` writes one. Files of the first version, one JSON
object in ``NAME.json``, are still read.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
import math
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_babyai.errors import BaselineError, JournalError, did_you_mean
from pytest_babyai.gate.scores import RunScores, scored, unscored
from pytest_babyai.journal import Entry, EpisodeKey, Scrubber
from pytest_babyai.records import EpisodeFailure, EpisodeResult, EpisodeSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_babyai.records import EpisodeOutcome

    Pair = tuple[str, int]

BASELINES_DIRECTORY: Final = "baselines"
"""Where named baselines are kept, relative to the configuration directory."""

KEPT_SETTINGS: Final = ("environment", "history_length", "num_dists", "on_error", "threshold")
KEPT_VERSIONS: Final = ("minigrid", "pytest-babyai", "tensorzero")
LEVEL_SETTINGS: Final = ("environment", "num_dists")
"""Settings that decide which level a task and a seed are."""

_SCHEMA: Final = 2
_MARK: Final = "pytest_babyai_baseline"
_SUFFIXES: Final = (".jsonl", ".json")
_NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]*")
_FILE_MODE: Final = 0o644
_NUM_NAMED: Final = 3
_HASH_DIGITS: Final = 8
_OLD_COLUMNS: Final = (
    "seed", "progression", "return", "steps", "input_tokens", "output_tokens", "cost",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RunSnapshot:
    """What is kept of a run for comparisons.

    Attributes:
        model_label: The model as summaries name it.
        offline: Whether the offline policy played.
        settings: The `KEPT_SETTINGS`, as JSON types.
        versions: The `KEPT_VERSIONS`.
        variant_hashes: Hash of the definition by variant, where there is one.
        fingerprints: Hash of the layout by (task, seed), where the environment gives one.
        scores: The episodes.
        models: The models that answered, as their providers report them, in alphabetical order.
    """

    model_label: str
    offline: bool
    settings: Mapping[str, Any]
    versions: Mapping[str, str | None]
    variant_hashes: Mapping[str, str]
    fingerprints: Mapping[Pair, str]
    scores: RunScores
    models: tuple[str, ...] = ()


def reported_models(outcomes: Iterable[EpisodeOutcome]) -> tuple[str, ...]:
    """Returns the models that answered, as their providers report them, in alphabetical order."""
    results = (outcome for outcome in outcomes if isinstance(outcome, EpisodeResult))
    return tuple(sorted({model for result in results for model in result.models}))


def take_snapshot(  # noqa: PLR0913 -- as many facts as a run has
    outcomes: Iterable[EpisodeOutcome],
    *,
    model_label: str,
    offline: bool,
    settings: Mapping[str, Any],
    versions: Mapping[str, str | None],
    variant_hashes: Mapping[str, str] | None = None,
    fingerprints: Mapping[Pair, str] | None = None,
    variants: Sequence[str] = (),
    tasks: Sequence[str] = (),
) -> RunSnapshot:
    """Keeps of a run what comparisons need.

    Args:
        outcomes: What came of its episodes, in any order.
        model_label: The model as summaries name it.
        offline: Whether the offline policy played.
        settings: All settings, as `Settings.as_plain` gives them.
        versions: Version by distribution, as `installed_versions` gives them.
        variant_hashes: Hash of the definition by variant; only those with an episode are kept.
        fingerprints: Hash of the layout by (task, seed); None takes those of the outcomes.
        variants: Names to begin with in tables.
        tasks: The same for tasks.

    Raises:
        BaselineError: As `layout_fingerprints`.
    """
    outcomes = list(outcomes)
    scores = RunScores.of_outcomes(outcomes, variants=variants, tasks=tasks)
    known = layout_fingerprints(outcomes) if fingerprints is None else fingerprints
    hashes = variant_hashes or {}
    played = {(episode.spec.task, episode.spec.seed) for episode in scores.episodes}
    return RunSnapshot(
        model_label=model_label,
        offline=offline,
        settings={name: settings[name] for name in KEPT_SETTINGS if name in settings},
        versions={name: versions[name] for name in KEPT_VERSIONS if name in versions},
        variant_hashes={name: hashes[name] for name in scores.variants if name in hashes},
        fingerprints={pair: text for pair, text in known.items() if pair in played},
        scores=scores,
        models=reported_models(outcomes),
    )


def layout_fingerprints(outcomes: Iterable[EpisodeOutcome]) -> dict[Pair, str]:
    """Returns the hash of the layout by (task, seed), as far as outcomes carry one.

    Raises:
        BaselineError: A task and seed was played on several layouts, as where two tests ask for
            different numbers of distractors, so its episodes are no pairs of anything.
    """
    found: dict[Pair, str] = {}
    for outcome in outcomes:
        text = outcome.layout_fingerprint if isinstance(outcome, EpisodeResult) else None
        pair = (outcome.spec.task, outcome.spec.seed)
        if text is not None and found.setdefault(pair, text) != text:
            raise BaselineError(
                f"the episodes of {pair[0]}-{pair[1]} were played on different levels (num_dists "
                "differs between tests), so they cannot be compared; play one of them alone"
            )
    return found


def baseline_path(text: str, directory: Path, *, place: str = "--babyai-save") -> Path:
    """Returns the file that a name or path stands for, whether it exists or not.

    Args:
        text: A name such as ``main``, or a path: with a separator, ``.jsonl`` or ``.json``.
        directory: Where names are kept.
        place: Option for error lines.

    Raises:
        BaselineError: It is neither name nor path.
    """
    if is_baseline_path(text):
        return Path(text).expanduser()
    if not _NAME.fullmatch(text):
        raise BaselineError(
            f"{place}: {text!r} is no name of a baseline: letters, digits, '.', '_' and '-'"
        )
    return directory / f"{text}{_SUFFIXES[0]}"


def is_baseline_path(text: str) -> bool:
    """Returns whether a text is the path of a baseline, and not its name."""
    return "/" in text or os.sep in text or text.endswith(_SUFFIXES)


def find_baseline(text: str, directory: Path, *, place: str = "--babyai-compare") -> Path:
    """Returns the existing file that a name or path stands for; as `baseline_path`.

    Raises:
        BaselineError: There is no such file; the line names the closest one.
    """
    path = baseline_path(text, directory, place=place)
    if path.is_file():
        return path
    if is_baseline_path(text):
        raise BaselineError(f"{place}: there is no file {path}")
    old = path.with_name(f"{text}{_SUFFIXES[1]}")
    if old.is_file():
        return old
    names = baseline_names(directory)
    hint = did_you_mean(text, names) if names else "write one with --babyai-save=NAME"
    raise BaselineError(f"{place}: no baseline {text!r} in {directory}; {hint}")


def baseline_names(directory: Path) -> list[str]:
    """Returns the names of the baselines that there are."""
    return sorted({path.stem for suffix in _SUFFIXES for path in directory.glob(f"*{suffix}")})


def save_baseline(path: Path, snapshot: RunSnapshot, *, allow_errors: bool = False) -> None:
    """Writes a run as a baseline, in the place of an older one.

    Readers and crashes see the old file or the new one, never a part.

    Args:
        path: Where to.
        snapshot: The run.
        allow_errors: Whether a run may be blessed whose episodes have not all got a score.

    Raises:
        BaselineError: The run has no episode, an error or a value that is not finite, or the file
            cannot be written; an older one is still there.
    """
    scores = snapshot.scores
    if not scores.episodes:
        raise BaselineError(f"{path}: a run without episodes cannot become a baseline")
    if scores.num_errors and not allow_errors:
        raise BaselineError(
            f"{path} not written: {scores.num_errors:,} of {len(scores.episodes):,} episodes are "
            "errors; play them again with --babyai-resume, or bless the run as it is with "
            "--babyai-save-errors"
        )
    try:
        content = baseline_text(snapshot)
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, content)
    except (ValueError, JournalError) as error:
        raise BaselineError(f"{path}: {error}") from None
    except OSError as error:
        raise BaselineError(f"{path}: cannot be written: {error.strerror or error}") from None


def load_baseline(path: Path) -> RunSnapshot:
    """Reads a baseline.

    Raises:
        BaselineError: There is no such file, or it is no baseline that this version reads.
    """
    try:
        first, *lines = path.read_bytes().splitlines() or [b""]
        is_old = first.strip() == b"{"
        head = json.loads(b"\n".join([first, *lines]) if is_old else first)
        _check_schema(head)
        return _first_version(head) if is_old else _snapshot(head, lines)
    except OSError as error:
        raise BaselineError(f"{path}: cannot be read: {error.strerror or error}") from None
    except JournalError as error:
        raise BaselineError(f"{path}: {error}") from None
    except RecursionError:
        raise BaselineError(f"{path}: nested too deeply for a baseline") from None
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise BaselineError(f"{path}: no baseline, or a damaged one: {error!r}") from None
    except ValueError as error:
        text = str(error).splitlines()[0]
        raise BaselineError(f"{path}: no baseline, or a damaged one: {text}") from None


def baseline_text(snapshot: RunSnapshot) -> bytes:
    """Returns the content of a baseline file.

    Raises:
        ValueError: A value is not finite.
    """
    scores, settings = snapshot.scores, snapshot.settings
    head = {
        _MARK: _SCHEMA,
        "model": snapshot.model_label,
        "offline": snapshot.offline,
        "models": list(snapshot.models),
        "settings": dict(sorted(settings.items())),
        "versions": dict(sorted(snapshot.versions.items())),
        "variants": {name: snapshot.variant_hashes.get(name) for name in scores.variants},
        "tasks": list(scores.tasks),
    }
    names = {field.name for field in dataclasses.fields(EpisodeKey)}
    shared = {name: value for name, value in settings.items() if name in names}
    repeats: collections.Counter[EpisodeSpec] = collections.Counter()
    lines = [json.dumps(head, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"]
    for outcome in scores.episodes:
        spec = outcome.spec
        key = EpisodeKey(
            variant=spec.variant,
            variant_hash=snapshot.variant_hashes.get(spec.variant, ""),
            task=spec.task,
            seed=spec.seed,
            repeat=repeats[spec],
            **shared,
        )
        repeats[spec] += 1
        fingerprint = snapshot.fingerprints.get((spec.task, spec.seed))
        entry = Entry(
            key, _timeless(outcome), "", snapshot.model_label, snapshot.offline, fingerprint
        )
        lines.append(entry.to_line(Scrubber({}), trajectory=False))
    return b"".join(lines)


def _timeless(outcome: EpisodeOutcome) -> EpisodeOutcome:
    none: dict[str, Any] = {"steps": (), "episode_id": "", "started_at_s": 0.0, "duration_s": 0.0}
    if isinstance(outcome, EpisodeFailure):
        return dataclasses.replace(outcome, message="", **none)
    for name in ("progression", "episode_return"):
        value = getattr(outcome, name)
        if not math.isfinite(value):
            raise ValueError(f"{name} of {outcome.spec} is {value}; a baseline needs a number")
    return dataclasses.replace(outcome, failed_candidates=(), **none)


def _check_schema(head: Any) -> None:
    if not isinstance(head, dict) or _MARK not in head:
        raise ValueError("this is none of pytest-babyai; write one with --babyai-save=NAME")
    found = head[_MARK]
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise ValueError(f"{found!r} is no schema of baselines; expected {_SCHEMA}")
    if found > _SCHEMA:
        raise JournalError(
            f"written with baseline schema {found}, and this pytest-babyai reads up to {_SCHEMA}; "
            "upgrade it, or bless a run anew"
        )


def _snapshot(head: dict[str, Any], lines: Sequence[bytes]) -> RunSnapshot:
    entries = [_entry(line, number) for number, line in enumerate(lines, start=2)]
    known = {
        (entry.key.task, entry.key.seed): entry.layout_fingerprint
        for entry in entries
        if entry.layout_fingerprint is not None
    }
    return _rebuilt(head, [entry.outcome for entry in entries], known)


def _entry(line: bytes, number: int) -> Entry:
    try:
        return Entry.from_line(line)
    except ValueError as error:
        raise ValueError(f"line {number}: {error}") from None


def _first_version(head: dict[str, Any]) -> RunSnapshot:
    if tuple(head["columns"]) != _OLD_COLUMNS:
        raise ValueError(f"expected the columns {', '.join(_OLD_COLUMNS)}")
    known = {
        (task, int(seed)): str(text)
        for task, by_seed in head["levels"].items()
        for seed, text in by_seed.items()
    }
    outcomes = [_old_result(*place, known) for place in _old_rows(head["episodes"])]
    failures = [
        unscored(EpisodeSpec(variant, task, row[0]), row[1])
        for variant, task, row in _old_rows(head["errors"])
    ]
    return _rebuilt(head, [*outcomes, *failures], known)


def _old_rows(nested: dict[str, dict[str, list[Any]]]) -> Iterator[tuple[str, str, list[Any]]]:
    for variant, by_task in nested.items():
        for task, rows in by_task.items():
            for row in rows:
                yield variant, task, row


def _old_result(
    variant: str, task: str, row: list[Any], known: Mapping[Pair, str]
) -> EpisodeOutcome:
    seed, progression, episode_return, num_steps, *usage = row
    numbers = [seed, progression, episode_return, num_steps, *usage]
    fits = all(
        (value is None and position > 3)  # noqa: PLR2004 -- usage may be unknown
        or (isinstance(value, (int, float)) and math.isfinite(value))
        for position, value in enumerate(numbers)
    )
    if not fits or not isinstance(seed, int) or not 0 <= progression <= 1:
        expected = ", ".join(_OLD_COLUMNS)
        raise ValueError(
            f"episodes of {variant} on {task}: expected [{expected}], found {row!r:.80}"
        )
    tokens, answers, cost = usage
    return scored(
        EpisodeSpec(variant, task, seed), progression, episode_return, num_steps,
        input_tokens=tokens, output_tokens=answers, cost=cost,
        layout_fingerprint=known.get((task, seed)),
    )  # fmt: skip


def _rebuilt(
    head: dict[str, Any], outcomes: Sequence[EpisodeOutcome], known: Mapping[Pair, str]
) -> RunSnapshot:
    hashes: dict[str, str | None] = head["variants"]
    for name, kind in (("model", str), ("offline", bool), ("settings", dict), ("versions", dict)):
        if not isinstance(head[name], kind):
            raise ValueError(f"{name!r}: found {head[name]!r:.60}")
    return RunSnapshot(
        model_label=head["model"],
        offline=head["offline"],
        settings=head["settings"],
        versions=head["versions"],
        variant_hashes={name: text for name, text in hashes.items() if text is not None},
        fingerprints=known,
        scores=RunScores.of_outcomes(outcomes, variants=list(hashes), tasks=head["tasks"]),
        models=tuple(map(str, head.get("models") or ())),
    )


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


def check_comparable(
    candidate: RunSnapshot, reference: RunSnapshot, *, label: str = "the baseline"
) -> tuple[str, ...]:
    """Refuses runs whose pairs are not the same levels, and names what else differs.

    A level is known by its fingerprint. Where one side has none, settings that make other levels
    refuse the comparison in its place. Another model, version or definition of a variant is what
    comparisons are for: it is named.

    Args:
        candidate: The run that is judged.
        reference: The run that it is compared with.
        label: Names the reference in lines.

    Returns:
        One line for every difference that does no harm: ``variant history changed (ab12 -> cd34)``.

    Raises:
        BaselineError: The levels differ, no level is common, or there is no episode.
    """
    common = _common_pairs(candidate, reference, label)
    ours, theirs = candidate.fingerprints, reference.fingerprints
    known = [pair for pair in common if pair in ours and pair in theirs]
    other = [f"{task}-{seed}" for task, seed in known if ours[task, seed] != theirs[task, seed]]
    if other:
        some = ", ".join(other[:_NUM_NAMED]) + (", ..." if len(other) > _NUM_NAMED else "")
        raise BaselineError(
            f"{label}: {len(other)} of {len(known)} levels are not the ones of this run ({some}); "
            f"play with {_level_settings(reference)} or bless this run anew"
        )
    verified = len(known) == len(common)
    changes = list(_changes(candidate.settings, reference.settings, LEVEL_SETTINGS))
    if changes and not verified:
        raise BaselineError(
            f"{label}: other levels were played, {', '.join(changes)}; "
            f"play with {_level_settings(reference)} or bless this run anew"
        )
    return tuple(_notes(candidate, reference, verified=verified))


def _common_pairs(candidate: RunSnapshot, reference: RunSnapshot, label: str) -> list[Pair]:
    ours, theirs = _pairs(candidate.scores), _pairs(reference.scores)
    if not theirs:
        raise BaselineError(f"{label}: it holds no episode; bless a run that has some")
    if not ours:
        raise BaselineError(f"{label}: this run has no episode to compare with it")
    if not ours & theirs:
        raise BaselineError(
            f"{label}: no task and seed in common: it has {_span(theirs)}, this run {_span(ours)}"
        )
    return sorted(ours & theirs)


def _pairs(scores: RunScores) -> set[Pair]:
    return {(episode.spec.task, episode.spec.seed) for episode in scores.episodes}


def _span(pairs: set[Pair]) -> str:
    tasks, seeds = sorted({task for task, _ in pairs}), [seed for _, seed in pairs]
    span = str(min(seeds)) if min(seeds) == max(seeds) else f"{min(seeds)} to {max(seeds)}"
    return f"seeds {span} of {', '.join(tasks)}"


def _level_settings(snapshot: RunSnapshot) -> str:
    found = [
        f"{name}={snapshot.settings[name]}" for name in LEVEL_SETTINGS if name in snapshot.settings
    ]
    return ", ".join(found) or "the settings it was made with"


def _changes(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], names: Sequence[str]
) -> Iterator[str]:
    for name in names:
        if name in ours and name in theirs and ours[name] != theirs[name]:
            yield f"{name} {theirs[name]} -> {ours[name]}"


def _notes(candidate: RunSnapshot, reference: RunSnapshot, *, verified: bool) -> Iterator[str]:
    if candidate.offline != reference.offline:
        first = "the offline policy" if reference.offline else reference.model_label
        second = "the offline policy" if candidate.offline else candidate.model_label
        yield f"WARNING: {first} is compared with {second}: one of them is no language model"
    elif candidate.model_label != reference.model_label:
        yield f"model {reference.model_label} -> {candidate.model_label}"
    if reference.models and candidate.models and reference.models != candidate.models:
        before, after = ", ".join(reference.models), ", ".join(candidate.models)
        yield f"answers reported the model {before} -> {after}"
    yield from _changes(candidate.settings, reference.settings, KEPT_SETTINGS)
    yield from _changes(candidate.versions, reference.versions, KEPT_VERSIONS)
    for name, before in reference.variant_hashes.items():
        after = candidate.variant_hashes.get(name, before)
        if after != before:
            yield f"variant {name} changed ({before[:_HASH_DIGITS]} -> {after[:_HASH_DIGITS]})"
    if not verified:
        yield "not every level has a fingerprint on both sides, so equal seeds are taken on trust"
