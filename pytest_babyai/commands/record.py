"""``record``: what a run has not told its store yet, or tells another store."""

from __future__ import annotations

import asyncio
import os
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import click

from pytest_babyai.commands.options import (
    PATH,
    RUN_HELP,
    refuse_several,
    root_option,
    with_options,
)
from pytest_babyai.commands.places import run_of
from pytest_babyai.errors import SettingsError
from pytest_babyai.settings.defaults import CLICKHOUSE_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from types import SimpleNamespace

    from pytest_babyai.gateway.feedback import FeedbackQueue
    from pytest_babyai.gateway.store_place import StorePlace
    from pytest_babyai.gateway.store_queries import StoreQueries
    from pytest_babyai.journal import RunLog
    from pytest_babyai.journal.feedback_log import FeedbackLog
    from pytest_babyai.records import EpisodeResult

_TIMEOUT_S: Final = 600.0
_NOT_ALL_SENT: Final = 1


@click.command(
    "record", help=f"Send the feedback of a run that its store has not got yet. {RUN_HELP}"
)
@click.argument("run", metavar="RUN")
@click.option("--store", type=PATH, metavar="DIR", help="the embedded store of the run")
@click.option(
    "--clickhouse-url", metavar="URL", help=f"its ClickHouse (default: ${CLICKHOUSE_VARIABLE})"
)
@click.option("--gateway-url", metavar="URL", help="its TensorZero gateway")
@root_option
@with_options
def command(chosen: SimpleNamespace) -> Generator[str, None, int]:
    """Yields what was sent; the exit code is 1 where something could not be."""
    from pytest_babyai.journal.feedback_log import FeedbackLog
    from pytest_babyai.journal.files import RunLock

    refuse_several(chosen, "store", "clickhouse_url", "gateway_url")
    log = run_of(chosen, chosen.run)
    with ExitStack() as stack:
        stack.callback(RunLock(log.directory).release)
        feedback_log = FeedbackLog(log.directory)
        stack.callback(feedback_log.close)
        place = _place(chosen, stack)
        sent = asyncio.run(record_run(log, feedback_log, place))
    yield from sent.lines(log.run_id)
    return _NOT_ALL_SENT if sent.num_failed else 0


def _place(chosen: SimpleNamespace, stack: ExitStack) -> StorePlace:
    from pytest_babyai.gateway.store_place import StorePlace

    if chosen.gateway_url is not None:
        return StorePlace(gateway_url=chosen.gateway_url)
    if chosen.store is not None:
        from pytest_babyai.gateway.store import EmbeddedStore

        if not chosen.store.is_dir():  # a new store knows none of the episodes
            raise SettingsError(f"--store: there is no store in {chosen.store}")
        return StorePlace(clickhouse_url=stack.enter_context(EmbeddedStore(chosen.store)).url)
    clickhouse_url = chosen.clickhouse_url or os.environ.get(CLICKHOUSE_VARIABLE)
    if not clickhouse_url:
        raise SettingsError(
            "nowhere to record to: name the store of the run with --store DIR, "
            "--clickhouse-url URL or --gateway-url URL"
        )
    return StorePlace(clickhouse_url=clickhouse_url)


@dataclass(frozen=True)
class Recorded:
    """What came of recording a run, in episodes.

    Attributes:
        num_before: Had been recorded before.
        num_sent: Have been recorded now.
        num_failed: Could not be.
        problem: Why one of these could not.
    """

    num_before: int
    num_sent: int
    num_failed: int
    problem: str | None

    def lines(self, run_id: str) -> Generator[str, None, None]:
        """Yields what is told about it."""
        from pytest_babyai.reporting.numbers import count_of

        sent = count_of(self.num_sent, "episode")
        yield f"run {run_id}: feedback of {sent} sent, {self.num_before:,} had been"
        if self.num_failed:
            yield f"{count_of(self.num_failed, 'episode')} could not be recorded: {self.problem}"


async def record_run(log: RunLog, feedback_log: FeedbackLog, place: StorePlace) -> Recorded:
    """Sends the feedback of a run that is not acknowledged yet.

    Args:
        log: The run.
        feedback_log: Its acknowledgements.
        place: Where to.

    Raises:
        UsageError: The store cannot be used, or the run cannot be read.
    """
    from pytest_babyai.gateway.client import open_gateway
    from pytest_babyai.gateway.feedback import METRICS, FeedbackQueue
    from pytest_babyai.gateway.observability import feedback_configuration
    from pytest_babyai.journal.feedback_log import scored_episodes

    results = list(scored_episodes(log))
    pending = [
        result for result in results if feedback_log.missing(result.episode_id, list(METRICS))
    ]
    gateway = await open_gateway(
        feedback_configuration(),
        gateway_url=place.gateway_url,
        clickhouse_url=place.clickhouse_url,
    )
    try:
        store = place.queries()
        queue = FeedbackQueue(gateway, feedback_log, store=store)
        await _send(queue, pending, log.run_id)
        await _complete_evaluations(log, results, store)
    finally:
        await gateway.close()
    num_failed = len(pending) - queue.num_sent
    return Recorded(len(results) - len(pending), queue.num_sent, num_failed, queue.problem)


async def _send(queue: FeedbackQueue, results: Sequence[EpisodeResult], run_id: str) -> None:
    from pytest_babyai.gateway.feedback import feedback_of
    from pytest_babyai.gateway.inference import RUN_TAG

    for result in results:
        feedback = feedback_of(result, {RUN_TAG: run_id})
        if feedback is not None:
            queue.put(feedback)
    await queue.drain(_TIMEOUT_S)


async def _complete_evaluations(
    log: RunLog, results: Sequence[EpisodeResult], store: StoreQueries | None
) -> None:
    """Enters into their evaluation runs the episodes that were played while the store was gone."""
    from pytest_babyai.gateway.inference import episode_tags
    from pytest_babyai.gateway.store_queries import ClickHouseStore
    from pytest_babyai.gateway.workflow_evaluations import (
        evaluation_episode_row,
        known_evaluation_runs,
    )

    runs = known_evaluation_runs(session.notes for session in log.manifest.sessions)
    of_a_run = [result for result in results if result.spec.variant in runs]
    if not of_a_run or not isinstance(store, ClickHouseStore):
        return
    entered = await store.evaluation_episodes([result.episode_id for result in of_a_run])
    rows = [
        evaluation_episode_row(
            runs[result.spec.variant], result.episode_id, result.spec, episode_tags(result.spec)
        )
        for result in of_a_run
        if result.episode_id not in entered
    ]
    if rows:
        await store.add_evaluation_episodes(rows)
