"""A run as comparisons take it: scores, the levels they were made on, and what played."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pytest_babyai.errors import BaselineError
from pytest_babyai.gate.scores import RunScores
from pytest_babyai.records import EpisodeResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_babyai.gate.metrics import Pair
    from pytest_babyai.records import EpisodeOutcome

KEPT_SETTINGS: Final = ("environment", "history_length", "num_dists", "on_error", "threshold")
KEPT_VERSIONS: Final = ("minigrid", "pytest-babyai", "tensorzero")

LEVEL_SETTINGS: Final = ("environment", "num_dists")
"""Settings that decide which level a task and a seed are."""

_NUM_NAMED: Final = 3
_HASH_DIGITS: Final = 8


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


def reported_models(outcomes: Iterable[EpisodeOutcome]) -> tuple[str, ...]:
    """Returns the models that answered, as their providers report them, in alphabetical order."""
    results = (outcome for outcome in outcomes if isinstance(outcome, EpisodeResult))
    return tuple(sorted({model for result in results for model in result.models}))


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
