"""What a run plays and how, and what makes two of its episodes the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_babyai.journal import RUNS_DIRECTORY, EpisodeKey

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_babyai.gateway.configuration import GatewayConfiguration
    from pytest_babyai.records import PlannedEpisode
    from pytest_babyai.scheduling.precision import Precision
    from pytest_babyai.settings.model import Settings


@dataclass(frozen=True, slots=True)
class RunSpec:
    """What a run plays, and how.

    Attributes:
        settings: The settings of the run.
        configuration: TensorZero's configuration: variants and models.
        played: Variants that are played, in the order of the configuration.
        variant_hashes: Hash of what each variant is; empty for a gateway that keeps its
            configuration to itself.
        root: Directory that holds ``.babyai``.
        store_dir: Directory of the embedded store, None without one.
        nodeids: What is to be played, and the name of who asked for it first.
        precision: How precisely a variant has to be known before no more of it is played.
        command_line: Arguments as typed.
    """

    settings: Settings
    configuration: GatewayConfiguration
    played: tuple[str, ...]
    variant_hashes: Mapping[str, str]
    root: Path
    nodeids: Mapping[PlannedEpisode, str]
    store_dir: Path | None = None
    precision: Precision | None = None
    command_line: tuple[str, ...] = field(default=())

    @property
    def model_label(self) -> str:
        """The model, as summaries and the journal name it."""
        if self.settings.gateway_url is not None:
            return f"as the gateway at {self.settings.gateway_url} has it"
        return self.configuration.model_label(self.played)

    @property
    def is_offline(self) -> bool:
        """Whether the offline model alone plays, which is no language model."""
        return self.plays_offline(*self.played)

    def plays_offline(self, *variants: str) -> bool:
        """Returns whether the offline model alone plays these variants."""
        return self.settings.gateway_url is None and self.configuration.is_offline(variants)

    @property
    def runs_dir(self) -> Path:
        """Directory of all runs of the journal."""
        return self.root / RUNS_DIRECTORY

    def key_of(self, episode: PlannedEpisode) -> EpisodeKey:
        """Returns what has to be equal for an episode to be reused."""
        spec = episode.spec
        return EpisodeKey(
            variant=spec.variant,
            variant_hash=self.variant_hashes.get(spec.variant, ""),
            task=spec.task,
            seed=spec.seed,
            repeat=episode.repeat,
            history_length=episode.history_length,
            num_dists=episode.num_dists,
            environment=self.settings.environment,
            on_error=self.settings.on_error,
        )
