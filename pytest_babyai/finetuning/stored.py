"""Episodes of a store, listed by TensorZero."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from pytest_babyai.environment.actions import ACTIONS
from pytest_babyai.errors import SettingsError, did_you_mean
from pytest_babyai.finetuning.conditions import Condition
from pytest_babyai.finetuning.failures import DatasetError
from pytest_babyai.finetuning.rendering import ChatRenderer
from pytest_babyai.finetuning.sources import Origin, RecordedEpisode, RecordedStep
from pytest_babyai.gateway.client import import_tensorzero
from pytest_babyai.gateway.configuration import ACT_FUNCTION
from pytest_babyai.gateway.inference import NUM_DISTS_TAG, RUN_TAG, SEED_TAG, TASK_TAG, Inference
from pytest_babyai.records import NO_USAGE, AnswerStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_babyai.finetuning.chats import Chat
    from pytest_babyai.finetuning.clients import OpenClient
    from pytest_babyai.gateway.configuration import GatewayConfiguration

PAGE_SIZE: Final = 1_000
"""Inferences in one answer; without a limit TensorZero gives 20."""

_STORED_METRICS: Final = {
    "progression": "progression",
    "success": "progression",
    "return": "episode_return",
}
"""Where TensorZero keeps the metrics of conditions; the steps are counted."""
_IS_SCORED: Final = Condition("progression", ">=", 0.0)
"""An episode gets its feedback once it is over; one that has none ended as a failure."""


class StoredSource:
    """The episodes of one variant in a store.

    An episode's number of steps is that of its inferences, as a random fallback leaves none.

    Args:
        opened: TensorZero's client, on the store and with the variant's templates.
        configuration: What declares the variant.
        name: Names the store in lines.
        variant: Whose episodes.
        run: Id of the only run to take episodes from; None for all.

    Raises:
        SettingsError: The configuration has no such variant.
        DatasetError: The variant cannot be rendered.
    """

    def __init__(
        self,
        opened: OpenClient,
        configuration: GatewayConfiguration,
        *,
        name: str,
        variant: str,
        run: str | None = None,
    ) -> None:
        if variant not in configuration.variants:
            hint = did_you_mean(variant, configuration.variants)
            raise SettingsError(
                f"--variant: {configuration.config_dir} declares no variant {variant!r}; {hint}"
            )
        self._opened = opened
        self._tensorzero: Any = import_tensorzero()
        self._run = run
        self._renderer = ChatRenderer(configuration, variant)
        parts = configuration.variant_parts[variant]
        self.origin = Origin(
            kind="store",
            name=name,
            runs=(run,) if run else (),
            variant=variant,
            template_hashes={k: v for k, v in parts.items() if k.startswith("template ")},
        )

    def episodes(self, conditions: Sequence[Condition]) -> Iterator[RecordedEpisode]:
        """See `EpisodeSource.episodes`."""
        inferences: dict[str, list[Any]] = defaultdict(list)
        for inference in self._list([]):
            inferences[inference.episode_id].append(inference)
        stored = [_as_stored(c) for c in conditions if c.metric in _STORED_METRICS]
        counted = [c for c in conditions if c.metric not in _STORED_METRICS]
        scored = {i.episode_id for i in self._list([_IS_SCORED])} if inferences else set()
        chosen = {i.episode_id for i in self._list(stored)} if stored and scored else scored
        for episode_id, found in inferences.items():
            if _has_tags(found[0]):
                meets = all(condition.holds(len(found)) for condition in counted)
                yield _episode(
                    found,
                    meets_conditions=meets and episode_id in scored & chosen,
                    is_scored=episode_id in scored,
                )

    def chats(self, prompts: Sequence[Any]) -> list[Chat]:
        """See `EpisodeSource.chats`."""
        return [
            self._renderer.chat(_input_of(stored.input), stored.output.raw or "")
            for stored in prompts
        ]

    def _list(self, conditions: Sequence[Condition]) -> Iterator[Any]:
        """Yields inferences, newest first, page by page."""
        before: str | None = None
        while True:
            request = self._tensorzero.ListInferencesRequest(
                function_name=ACT_FUNCTION,
                variant_name=self.origin.variant,
                filters=self._filter(conditions),
                limit=PAGE_SIZE,
                before=before,
            )
            page = self._ask(request)
            yield from page
            if len(page) < PAGE_SIZE:
                return
            before = min(inference.inference_id for inference in page)

    def _ask(self, request: Any) -> list[Any]:
        try:
            page: list[Any] = self._opened.client.list_inferences(request=request).inferences
        except self._tensorzero.BaseTensorZeroError as error:
            reason = (getattr(error, "text", None) or str(error)).strip().splitlines()[0]
            raise DatasetError(f"{self.origin} cannot be read: {reason}") from None
        return page

    def _filter(self, conditions: Sequence[Condition]) -> Any:
        tensorzero = self._tensorzero
        filters = [
            tensorzero.InferenceFilterFloatMetric(
                metric_name=condition.metric, comparison_operator=order, value=bound
            )
            for condition in conditions
            for order, bound in condition.bounds()
        ]
        if self._run is not None:
            run = {"key": RUN_TAG, "value": self._run, "comparison_operator": "="}
            filters.append(tensorzero.InferenceFilterTag(**run))
        return tensorzero.InferenceFilterAnd(children=filters) if filters else None


def _as_stored(condition: Condition) -> Condition:
    return Condition(_STORED_METRICS[condition.metric], condition.order, condition.value)


def _has_tags(inference: Any) -> bool:
    """Whether an inference is a step of an episode of ours."""
    tags = inference.tags or {}
    return TASK_TAG in tags and str(tags.get(SEED_TAG, "")).isdecimal()


def _episode(inferences: list[Any], *, meets_conditions: bool, is_scored: bool) -> RecordedEpisode:
    inferences.sort(key=lambda inference: str(inference.inference_id))  # UUIDv7 sorts by time
    first = inferences[0]
    return RecordedEpisode(
        task=first.tags[TASK_TAG],
        seed=int(first.tags[SEED_TAG]),
        episode_id=first.episode_id,
        meets_conditions=meets_conditions,
        steps=tuple(map(_step, inferences)),
        num_dists=int(first.tags.get(NUM_DISTS_TAG, 0)),
        lacks=_lacking(inferences) if is_scored else "a score",
    )


def _lacking(inferences: Sequence[Any]) -> str:
    """Says which steps an episode must have had, by the history that its prompts show."""
    lengths = [_history_length(stored) for stored in inferences]
    missing = max((length - index for index, length in enumerate(lengths)), default=0)
    return f"{missing} step{'' if missing == 1 else 's'}" if missing > 0 else ""


def _history_length(stored: Any) -> int:
    [block] = _input_of(stored.input)["messages"][0]["content"][:1] or [{}]
    history = (block.get("arguments") or {}).get("history")
    return len(history) if isinstance(history, list) else 0


def _step(stored: Any) -> RecordedStep:
    raw, parsed = stored.output.raw or "", stored.output.parsed
    parsed = parsed if isinstance(parsed, Mapping) else None
    action = Inference(stored.inference_id, raw, parsed, NO_USAGE, 0.0).action
    if action is None:
        status = AnswerStatus.UNPARSABLE
    elif action.strip() in ACTIONS:
        status = AnswerStatus.VALID
    else:
        status = AnswerStatus.UNKNOWN_ACTION
    return RecordedStep(status, action or "", stored)


def _input_of(stored: Any) -> dict[str, Any]:
    """Returns an inference's stored input as TensorZero takes it."""
    return {
        "system": stored.system,
        "messages": [
            {"role": message.role, "content": [_block(content) for content in message.content]}
            for message in stored.messages
        ],
    }


def _block(content: Any) -> dict[str, Any]:
    return {
        "name": getattr(content, "name", None),
        "text": getattr(content, "text", None),
        "arguments": getattr(content, "arguments", None),
    }
