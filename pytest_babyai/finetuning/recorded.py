"""Episodes of a run of the journal, rendered with the templates that they were played with."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pytest_babyai.errors import SettingsError, did_you_mean
from pytest_babyai.finetuning.episodes import Origin, RecordedEpisode, RecordedStep
from pytest_babyai.finetuning.failures import DatasetError
from pytest_babyai.finetuning.rendering import ChatRenderer
from pytest_babyai.gateway.arguments import StepHistory
from pytest_babyai.gateway.inference import InferenceRequest
from pytest_babyai.records import AnswerStatus, EpisodeFailure, EpisodeResult

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_babyai.finetuning.chats import Chat
    from pytest_babyai.finetuning.conditions import Condition
    from pytest_babyai.gateway.configuration import GatewayConfiguration
    from pytest_babyai.journal import Entry, RunLog
    from pytest_babyai.records import Step

_RENDERING_PARTS = ("template ", "schema user")


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
        self._variant = _chosen_variant(log, {entry.key.variant for entry in entries}, variant)
        self._entries = [entry for entry in entries if entry.key.variant == self._variant]
        hashes = _same_templates(log, configuration, self._variant)
        self._renderer = ChatRenderer(configuration, self._variant)
        failures = [e for e in self._entries if isinstance(e.outcome, EpisodeFailure)]
        self.origin = Origin(
            kind="journal",
            name=log.run_id,
            runs=(log.run_id,),
            variant=self._variant,
            template_hashes=hashes,
            model=log.manifest.model_label,
            num_failures=len(failures),
        )

    def episodes(self, conditions: Sequence[Condition]) -> Iterator[RecordedEpisode[PlayedStep]]:
        """See `EpisodeSource.episodes`."""
        for entry in self._entries:
            if isinstance(entry.outcome, EpisodeResult):
                yield self._episode(entry, entry.outcome, conditions)

    def chats(self, prompts: Sequence[PlayedStep]) -> list[Chat]:
        """See `EpisodeSource.chats`."""
        return [self._renderer.chat(prompt.request, prompt.answer) for prompt in prompts]

    def _episode(
        self, entry: Entry, result: EpisodeResult, conditions: Sequence[Condition]
    ) -> RecordedEpisode[PlayedStep]:
        if len(result.steps) != result.num_steps:
            raise DatasetError(
                f"run {self._log.run_id} keeps no steps of {entry.key}; "
                "collect with --babyai-trajectories=on"
            )
        return RecordedEpisode(
            task=entry.key.task,
            seed=entry.key.seed,
            episode_id=result.episode_id,
            meets_conditions=all(
                condition.holds(getattr(result, condition.metric)) for condition in conditions
            ),
            steps=tuple(_steps(entry, result)),
            num_dists=entry.key.num_dists,
            fingerprint=entry.layout_fingerprint,
        )


def _steps(entry: Entry, result: EpisodeResult) -> Iterator[RecordedStep[PlayedStep]]:
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
