"""What a session does with its store."""

from __future__ import annotations

from concurrent.futures import Future, wait
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, NamedTuple

from pytest_babyai.errors import InfrastructureError
from pytest_babyai.gateway import stored
from pytest_babyai.gateway.client import CLOSE_TIMEOUT_S, open_gateway
from pytest_babyai.gateway.inference import episode_tags
from pytest_babyai.gateway.stored import StoreLink
from pytest_babyai.gateway.workflow_evaluations import evaluation_episode_row
from pytest_babyai.journal.feedback_log import FeedbackLog
from pytest_babyai.loop_thread import LoopThread
from pytest_babyai.plugin.ending import Ending
from pytest_babyai.plugin.store_opening import open_store

if TYPE_CHECKING:
    from pytest_babyai.gateway.client import Gateway
    from pytest_babyai.gateway.stored import StorePlace
    from pytest_babyai.plugin.recording import EpisodeJournal
    from pytest_babyai.plugin.selection import Selection
    from pytest_babyai.records import EpisodeOutcome

_NO_MODEL: Final = "http://127.0.0.1:9/v1"
"""Stands for the model server in a process that asks for no inference."""

ENTER_S: Final = 30.0
"""Longest time that the end of a run waits for what workers have reported to be entered."""


class StoredRun(NamedTuple):
    """What a store is told of.

    Attributes:
        selection: Settings of the session.
        run_id: Tag of everything stored.
        journal: Remembers evaluation runs and acknowledgements; None where there is none.
    """

    selection: Selection
    run_id: str
    journal: EpisodeJournal | None


def link_of(
    gateway: Gateway, place: StorePlace, run: StoredRun, *, plays_a_part: bool = False
) -> StoreLink:
    """Returns the link of a session and its store.

    Args:
        gateway: The gateway of the run.
        place: Where its store is.
        run: What it is told of.
        plays_a_part: Whether this is one of several processes: another one then tells the store
            what came of the episodes.
    """
    journal = run.journal
    manifest = journal.log.manifest if journal else None
    git = manifest.session.git if manifest else None
    told = stored.StoredRun(
        run.run_id,
        run.selection.model_label,
        record=run.selection.settings.record == "on" and not plays_a_part,
        git_commit=git.commit if git else None,
        notes=[each.notes for each in manifest.sessions] if manifest else (),
    )
    if journal is not None:
        log = FeedbackLog(journal.log.directory)
        told = told._replace(acknowledgements=log, add_notes=journal.add_notes)
    link = StoreLink(gateway, place, told)
    if plays_a_part:
        link._evaluations = None  # noqa: SLF001 - the controller's
    return link


class ControllerLink:
    """Tells the store of episodes that worker processes play.

    Args:
        run: What it is told of.

    Raises:
        UsageError: The store cannot be had.
    """

    def __init__(self, run: StoredRun) -> None:
        with ExitStack() as stack:
            self._ending = Ending()
            place = open_store(run.selection, stack, self._ending)
            self._thread = LoopThread()
            stack.callback(self._thread.close)
            gateway = self._thread.run(_open_for_feedback(run.selection, place))
            stack.callback(
                lambda: self._thread.run(gateway.close(self._ending.at_most_s(CLOSE_TIMEOUT_S)))
            )
            self.link = link_of(gateway, place, run)
            self._stack = stack.pop_all()
        self._entering: list[Future[None]] = []

    def enter(self, outcome: EpisodeOutcome, repeat: int) -> None:
        """Tells of an episode, in the background."""
        self._entering.append(self._thread.submit(_enter(self.link, outcome, repeat)))

    def close(self, *, is_interrupted: bool = False) -> None:
        """Sends what waits, and lets go of the store."""
        if is_interrupted:
            self._ending.hurry()
        wait(self._entering, self._ending.at_most_s(ENTER_S))
        self._thread.run(self.link.close(self._ending))
        self._stack.close()


async def _enter(link: StoreLink, outcome: EpisodeOutcome, repeat: int) -> None:
    evaluations = link._evaluations  # noqa: SLF001 - until one process plays all
    if evaluations is not None and evaluations._entries is not None:  # noqa: SLF001
        try:
            run_id = await evaluations._run_of(outcome.spec.variant)  # noqa: SLF001
        except InfrastructureError:
            return
        tags = {**evaluations._labels.tags(), **episode_tags(outcome.spec)}  # noqa: SLF001
        tags["repeat"] = str(repeat)
        row = evaluation_episode_row(run_id, outcome.episode_id, outcome.spec, tags)
        evaluations._entries.put(row)  # noqa: SLF001
    link.tell(outcome)


async def _open_for_feedback(selection: Selection, place: StorePlace) -> Gateway:
    configuration = selection.configuration
    if configuration.offline_port is not None:
        configuration = configuration.with_api_base(_NO_MODEL)
    return await open_gateway(
        configuration,
        gateway_url=selection.settings.gateway_url,
        clickhouse_url=place.clickhouse_url,
    )
