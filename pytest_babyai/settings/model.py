"""The frozen settings of a run."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_babyai.settings.amounts import ErrorLimit


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a run is told.

    Attributes:
        variants: Variants to play; None means every variant of the TensorZero configuration.
        tasks: BabyAI tasks by their short names; None means all five.
        seeds: Seeds to play; None means ``episodes`` seeds from ``seed`` upwards.
        episodes: Episodes per variant and task, at least 1.
        seed: First seed.
        threshold: Progression in [0, 1] that an episode has to reach.
        history_length: Past observations and actions that variants with history see.
        gate: ``episodes``: an episode below its threshold fails the run; ``aggregate``: it is
            reported as expected failure.
        model: Name of a file in ``<config>/models`` or path of a TOML file.
        config: Configuration directory; None means ``config`` of the project, else the one that
            comes with the package.
        gateway_url: A running TensorZero gateway; None means the embedded one.
        concurrency: Requests in flight at most; ``auto`` finds what the provider bears.
        timeout_s: Time limit of one request in seconds.
        max_attempts: Tries of a request before its episode is given up.
        on_error: ``raise`` makes an infrastructure failure an error of its episode; ``fallback``
            plays a seeded random legal action instead.
        environment: ``builtin`` or ``balrog``.
        num_dists: Distractor objects added to every level.
        details: Episodes below their threshold, and errors, that are printed in full.
        repeats: How often every episode is played.
        journal: ``on`` keeps every finished episode.
        trajectories: ``on`` keeps its steps as well.
        episode_timeout_s: Time limit of an episode in seconds.
        max_errors: Errors that a run puts up with.
        max_tokens: Input and output tokens that it may consume.
        max_cost: US dollars that it may cost.
        max_time_s: Seconds after which nothing more is started.
        plan: ``on`` plays nothing and tells what would be played.
        resume: Id of a run to go on with, or ``latest``; None for a new one.
        fail: Rules of gates as they were written, or by name of the model that they are meant for;
            `pytest_babyai.gate` reads them.
        compare: Name or path of a baseline to compare with.
        reference: The variant that others are compared with; None means the first.
        margin: Difference in success, progression and return, in [0, 1], that does not matter.
        primary: The metric whose verdicts count.
        inconclusive: What becomes of a gate that is inconclusive: ``pass``, ``skip`` or ``fail``.
        references: What is shown beside the variants that needs no model: ``expert``, ``random``.
        save: Name or path of the baseline that the run is written to.
        save_errors: ``on`` blesses a run although some of its episodes are errors.
        until: Precision at which a variant stops, as it was written.
        decide: ``on`` stops a variant once its gates and comparisons are decided.
        html: File of the HTML report.
        md: File of the Markdown report.
        csv: File of the episodes as CSV.
        parquet: File of the episodes as Parquet.
        charts: Directory of the charts.
        store: Directory of the embedded store; None for none.
        clickhouse_url: A ClickHouse as the store, None for none.
        record: ``on`` sends every episode's scores to the store as feedback.
        cache: Whether answers come from the store's cache, and go into it: ``on``, ``off``,
            ``read_only`` or ``write_only``.
        collect: ``on`` collects experience, on training seeds alone.
    """

    variants: tuple[str, ...] | None = None
    tasks: tuple[str, ...] | None = None
    seeds: tuple[int, ...] | None = None
    episodes: int = 20
    seed: int = 200
    threshold: float = 1.0
    history_length: int = 8
    gate: str = "episodes"
    model: str = "offline"
    config: Path | None = None
    gateway_url: str | None = None
    concurrency: int | Literal["auto"] = 50
    timeout_s: float = 60.0
    max_attempts: int = 5
    on_error: str = "raise"
    environment: str = "builtin"
    num_dists: int = 0
    details: int = 3
    repeats: int = 1
    journal: str = "on"
    trajectories: str = "on"
    resume: str | None = None
    episode_timeout_s: float | None = None
    max_errors: ErrorLimit | None = None
    max_tokens: int | None = None
    max_cost: float | None = None
    max_time_s: float | None = None
    plan: str = "off"
    fail: tuple[str, ...] | Mapping[str, tuple[str, ...]] = ()
    compare: str | None = None
    reference: str | None = None
    margin: float = 0.05
    primary: str = "success"
    inconclusive: Literal["pass", "skip", "fail"] = "skip"
    references: tuple[str, ...] = ()
    save: str | None = None
    save_errors: str = "off"
    until: str | None = None
    decide: str = "off"
    html: Path | None = None
    md: Path | None = None
    csv: Path | None = None
    parquet: Path | None = None
    charts: Path | None = None
    store: str | None = None
    clickhouse_url: str | None = None
    record: str = "off"
    cache: str = "off"
    collect: str = "off"

    @property
    def played_seeds(self) -> tuple[int, ...]:
        """The seeds of every variant and task, in order."""
        if self.seeds is not None:
            return self.seeds
        return tuple(range(self.seed, self.seed + self.episodes))

    @property
    def rules(self) -> tuple[str, ...]:
        """The rules of gates that are meant for the model."""
        return self.fail if isinstance(self.fail, tuple) else self.fail.get(self.model, ())

    def as_plain(self) -> dict[str, Any]:
        """Returns the settings as JSON types, for a report or a manifest."""
        return {name: _plain(value) for name, value in dataclasses.asdict(self).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, Path) else value
