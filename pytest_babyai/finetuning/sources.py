"""Recorded episodes: what every source gives, and the journal as one. The store is another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from pytest_babyai.errors import SettingsError, did_you_mean
from pytest_babyai.finetuning.failures import DatasetError
from pytest_babyai.finetuning.rendering import ChatRenderer
from pytest_babyai.gateway.arguments import StepHistory
from pytest_babyai.gateway.inference import NO_CACHE, InferenceRequest
from pytest_babyai.gateway.wire import inference_arguments
from pytest_babyai.records import AnswerStatus, EpisodeFailure, EpisodeResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_babyai.finetuning.chats import Chat
    from pytest_babyai.finetuning.conditions import Condition
    from pytest_babyai.gateway.configuration import GatewayConfiguration
    from pytest_babyai.journal import Entry, RunLog
    from pytest_babyai.records import Step

_RENDERING_PARTS = ("template ", "schema user")


@dataclass(frozen=True, slots=True)
class RecordedStep:
    """A step as far as training needs it.

    Attributes:
        status: How the answer became an action.
        action: The answered action; empty where there was none.
        prompt: What its source renders.
        num_tokens: Tokens of prompt and answer as the provider counted them, None if unknown.
    """

    status: AnswerStatus
    action: str
    prompt: Any
    num_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class RecordedEpisode:
    """A scored episode.

    Attributes:
        task: Short name of the BabyAI task.
        seed: Seed of the level.
        episode_id: The gateway's id of the episode.
        meets_conditions: Whether it is one of those that were asked for.
        steps: What was played.
        num_dists: Distractor objects added to the level.
        fingerprint: Hash of the layout, None where it was not recorded.
        lacks: What its source should have of it and has not; empty where nothing is missing.
    """

    task: str
    seed: int
    episode_id: str
    meets_conditions: bool
    steps: tuple[RecordedStep, ...]
    num_dists: int = 0
    fingerprint: str | None = None
    lacks: str = ""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where episodes were recorded.

    Attributes:
        kind: ``journal`` or ``store``.
        name: The run's id, or the store without its password.
        runs: Ids of the runs, empty where unknown.
        variant: The variant that played.
        template_hashes: Hash by part of the variant: ``{"template user": "ab12..."}``.
        model: The model that played, as summaries name it; empty where unknown.
        model_setting: What the setting ``model`` of the run was; empty where unknown.
        num_failures: Episodes without a score.
    """

    kind: str
    name: str
    runs: tuple[str, ...]
    variant: str
    template_hashes: Mapping[str, str]
    model: str = ""
    model_setting: str = ""
    num_failures: int = 0

    def __str__(self) -> str:
        """Names it in lines."""
        return f"run {self.name}" if self.kind == "journal" else self.name


class EpisodeSource(Protocol):
    """A journal or a store."""

    @property
    def origin(self) -> Origin:
        """Where the episodes were recorded."""
        ...

    def episodes(self, conditions: Sequence[Condition]) -> Iterable[RecordedEpisode]:
        """Returns the scored episodes, also those that do not meet the conditions.

        Raises:
            DatasetError: Their steps were not recorded.
        """
        ...

    def chats(self, prompts: Sequence[Any]) -> list[Chat]:
        """Renders steps.

        Raises:
            DatasetError: One of them cannot be rendered.
            ConfigurationError: Neither can any other.
        """
        ...


class PlayedStep(NamedTuple):
    """A request as it was made, and the raw text of its answer."""

    request: InferenceRequest
    answer: str


class RunSource:
    """The episodes of one variant in a run of the journal.

    Args:
        log: The run.
        configuration: What declares the variant now.
        variant: Whose episodes; None for the only one.

    Raises:
        SettingsError: The run has no such variant, or several and none was named.
        DatasetError: The variant's templates are not those of the run.
    """

    def __init__(
        self, log: RunLog, configuration: GatewayConfiguration, variant: str | None = None
    ) -> None:
        self._log = log
        entries = log.latest(with_steps=True).values()
        chosen = _chosen_variant(log, {entry.key.variant for entry in entries}, variant)
        self._entries = [entry for entry in entries if entry.key.variant == chosen]
        hashes = _same_templates(log, configuration, chosen)
        self._function = configuration.function
        self._renderer = ChatRenderer(configuration, chosen)
        self.origin = Origin(
            kind="journal",
            name=log.run_id,
            runs=(log.run_id,),
            variant=chosen,
            template_hashes=hashes,
            model=log.manifest.model_label,
            model_setting=str(log.manifest.session.settings.get("model") or ""),
            num_failures=sum(isinstance(e.outcome, EpisodeFailure) for e in self._entries),
        )

    def episodes(self, conditions: Sequence[Condition]) -> Iterator[RecordedEpisode]:
        """See `EpisodeSource.episodes`."""
        for entry in self._entries:
            if isinstance(entry.outcome, EpisodeResult):
                yield self._episode(entry, entry.outcome, conditions)

    def chats(self, prompts: Sequence[PlayedStep]) -> list[Chat]:
        """See `EpisodeSource.chats`."""
        return [
            self._renderer.chat(
                inference_arguments(request, NO_CACHE, self._function)["input"], answer
            )
            for request, answer in prompts
        ]

    def _episode(
        self, entry: Entry, result: EpisodeResult, conditions: Sequence[Condition]
    ) -> RecordedEpisode:
        if len(result.steps) != result.num_steps:
            raise DatasetError(
                f"run {self._log.run_id} keeps no steps of {entry.key}; "
                "collect with --babyai-trajectories=on"
            )
        return RecordedEpisode(
            task=entry.key.task,
            seed=entry.key.seed,
            episode_id=result.episode_id,
            meets_conditions=all(condition.holds_for(result) for condition in conditions),
            steps=tuple(_steps(entry, result)),
            num_dists=entry.key.num_dists,
            fingerprint=entry.layout_fingerprint,
        )


def _steps(entry: Entry, result: EpisodeResult) -> Iterator[RecordedStep]:
    history = StepHistory(entry.key.history_length)
    for step in result.steps:
        request = InferenceRequest(
            variant=entry.key.variant,
            episode_id=result.episode_id,
            mission=result.mission,
            observation=step.observation,
            history=history.steps(),
            step=history.num_steps + 1,
            max_steps=result.max_steps,
            last_answer=history.last_answer,
        )
        is_answer = step.status is not AnswerStatus.FALLBACK
        yield RecordedStep(
            status=step.status,
            action=step.candidate if is_answer else "",
            prompt=PlayedStep(request, step.output),
            num_tokens=_num_tokens(step),
        )
        history.add(step)


def _num_tokens(step: Step) -> int | None:
    parts = (step.usage.input_tokens, step.usage.output_tokens)
    return None if None in parts else sum(part or 0 for part in parts)


def _chosen_variant(log: RunLog, played: set[str], variant: str | None) -> str:
    names = sorted(played)
    if not names:
        raise DatasetError(f"run {log.run_id} has no finished episode")
    if variant is None and len(names) == 1:
        return names[0]
    if variant is None:
        raise SettingsError(
            f"run {log.run_id} has the variants {', '.join(names)}; choose one with --variant"
        )
    if variant not in names:
        hint = did_you_mean(variant, names)
        raise SettingsError(f"--variant: run {log.run_id} has no variant {variant!r}; {hint}")
    return variant


def _same_templates(
    log: RunLog, configuration: GatewayConfiguration, variant: str
) -> dict[str, str]:
    """Returns the hashes of what decides a prompt, the same in the run and now."""
    definition = log.manifest.variants.get(variant)
    if definition is None:
        raise DatasetError(
            f"run {log.run_id} does not know the templates of {variant!r}, as a gateway elsewhere "
            "played it; take the training data from that gateway's store"
        )
    if variant not in configuration.variants:
        hint = did_you_mean(variant, configuration.variants)
        raise DatasetError(
            f"{configuration.config_dir}: run {log.run_id} played the variant {variant!r}, which "
            f"is no longer declared; {hint}"
        )
    then = _rendering_parts(definition.parts)
    now = _rendering_parts(configuration.variant_parts[variant])
    changed = sorted(part for part in {*then, *now} if then.get(part) != now.get(part))
    if changed:
        raise DatasetError(
            f"{configuration.config_dir}: {', '.join(changed)} of variant {variant!r} changed "
            f"since run {log.run_id}, so that its prompts cannot be rendered again; put that "
            "back, or collect anew"
        )
    return now


def _rendering_parts(parts: Mapping[str, str]) -> dict[str, str]:
    return {name: part for name, part in parts.items() if name.startswith(_RENDERING_PARTS)}
