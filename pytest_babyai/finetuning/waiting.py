"""Follows a fine-tuning job to its end, and tells how it goes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_babyai.finetuning.failures import FineTuningError
from pytest_babyai.finetuning.provider_api import FINAL, ProviderUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from pytest_babyai.finetuning.provider_api import FineTuningApi, JobEvent, JobState


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a job is asked about.

    Attributes:
        poll_s: Seconds between two questions.
        patience_s: Seconds without an answer after which waiting ends; the job goes on.
        sleep: Waits so many seconds.
        monotonic_s: Seconds that never run backwards.
    """

    poll_s: float = 5.0
    patience_s: float = 600.0
    sleep: Callable[[float], object] = time.sleep
    monotonic_s: Callable[[], float] = time.monotonic


@dataclass
class _Told:
    """What has been told already."""

    events: set[str] = field(default_factory=set)
    status: str = ""

    def news(self, status: str, events: Iterable[JobEvent]) -> Iterator[str]:
        if status != self.status:
            self.status = status
            yield status.replace("_", " ")
        fresh = [event for event in events if event.event_id not in self.events]
        self.events.update(event.event_id for event in fresh)
        # Of many figures since the last look the last one is enough.
        measurements = [event for event in fresh if event.is_measurement][:-1]
        yield from (event.message for event in fresh if event not in measurements)


def wait_for_end(
    api: FineTuningApi, job_id: str, pace: Pace | None = None
) -> Generator[str, None, JobState]:
    """Yields a line for whatever happens to a job: its status, its events.

    Args:
        api: Whom to ask.
        job_id: The job.
        pace: How often.

    Returns:
        The job's final state.

    Raises:
        FineTuningError: The provider has no such job, refuses, or has not answered for long.
        CredentialsError: The key is not valid.
    """
    pace = pace or Pace()
    started_s = answered_s = pace.monotonic_s()
    told = _Told()
    while True:
        state = _state_or_none(api, job_id, pace, answered_s)
        now_s = pace.monotonic_s()
        if state is None:
            yield f"{_elapsed(now_s - started_s)} no answer, asking again"
        else:
            answered_s = now_s
            for line in told.news(state.status, api.events(job_id)):
                yield f"{_elapsed(now_s - started_s)} {line}"
            if state.status in FINAL:
                return state
        pace.sleep(pace.poll_s)


def _state_or_none(
    api: FineTuningApi, job_id: str, pace: Pace, answered_s: float
) -> JobState | None:
    try:
        return api.job(job_id)
    except ProviderUnavailableError as error:
        if pace.monotonic_s() - answered_s < pace.patience_s:
            return None
        raise FineTuningError(
            f"{error}; job {job_id} goes on without us, and the same command picks it up"
        ) from None


def _elapsed(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes:3d}:{rest:02d}"
