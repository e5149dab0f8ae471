"""What the store alone knows of an episode: that it is there, and the tokens of cached answers."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from pytest_babyai.errors import InfrastructureError
from pytest_babyai.gateway.lookups import GroupedLookup
from pytest_babyai.gateway.wire import CACHED_USAGE
from pytest_babyai.records import EpisodeOutcome, Usage, total_usage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from pytest_babyai.gateway.store_queries import StoreQueries
    from pytest_babyai.records import Step

Outcome = TypeVar("Outcome", bound=EpisodeOutcome)

_WAITS_S: Final = (0.2, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
"""Waits before each look, in seconds."""

_NUM_QUICK_LOOKS: Final = 4
"""So many times a store is asked for what came in lately; then for all that it has."""


@dataclasses.dataclass(frozen=True)
class Completed(Generic[Outcome]):
    """An episode, and whether the store has it.

    Attributes:
        outcome: With all tokens that are known.
        is_stored: Whether its last inference is in the store, and so all of them.
    """

    outcome: Outcome
    is_stored: bool


class StoredUsage:
    """Sees an episode into the store, and gives cached steps the tokens that they once took.

    A gateway writes an inference after it has answered it. An episode that is reported once its
    last inference is stored is there as a whole, whatever then happens to this process.

    Means of tokens say the same on every run, however much of it came from the cache. What cannot
    be found stays unknown, and is never taken for 0.

    Args:
        store: Asked for the tokens.
        sleep: Waits so many seconds.
    """

    def __init__(
        self,
        store: StoreQueries,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._usages = GroupedLookup(store.usages)
        self._stored = GroupedLookup(self._stored_without_usage)
        self._sleep = sleep

    async def complete(self, outcome: Outcome) -> Completed[Outcome]:
        """Returns the outcome with the usage of its cached steps, once the store has it.

        Costs of cached steps are 0. A store that is gone is not waited for.

        Args:
            outcome: With its steps.
        """
        answered = [step for step in outcome.steps if step.inference_id]
        cached = {step.inference_id for step in answered if step.cached}
        last = {step.inference_id for step in answered[-1:]}
        asked = {each for each in cached | last if each}
        found = await self._find(asked, with_usage=bool(cached))
        is_stored = bool(asked) and len(found) == len(asked)
        if not cached:
            return Completed(outcome, is_stored)
        steps = tuple(_with_tokens(step, found) for step in outcome.steps)
        usage = total_usage(step.usage for step in steps)
        return Completed(dataclasses.replace(outcome, steps=steps, usage=usage), is_stored)

    async def _find(self, inference_ids: set[str], *, with_usage: bool) -> dict[str, Usage]:
        found: dict[str, Usage] = {}
        for look, wait_s in enumerate(_WAITS_S if inference_ids else ()):
            await self._sleep(wait_s)
            lookup = self._usages if with_usage or look >= _NUM_QUICK_LOOKS else self._stored
            try:
                found |= await lookup.find(sorted(inference_ids - found.keys()))
            except InfrastructureError:
                break
            if len(found) == len(inference_ids):
                break
        return found

    async def _stored_without_usage(self, inference_ids: Sequence[str]) -> dict[str, Usage]:
        return dict.fromkeys(await self._store.stored(inference_ids), CACHED_USAGE)


def _with_tokens(step: Step, found: Mapping[str, Usage]) -> Step:
    if not step.cached or step.inference_id is None:
        return step
    stored = found.get(step.inference_id, CACHED_USAGE)
    usage = Usage(stored.input_tokens, stored.output_tokens, CACHED_USAGE.cost)
    return dataclasses.replace(step, usage=usage)
