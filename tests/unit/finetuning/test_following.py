from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_babyai.errors import CredentialsError
from pytest_babyai.finetuning.failures import FineTuningError
from pytest_babyai.finetuning.openai import (
    FineTuningApi,
    JobState,
    Pace,
    ProviderRefusedError,
)
from pytest_babyai.finetuning.openai import follow as wait_for_end
from tests.unit.finetuning.finetuning_samples import FakeProvider, openai_error

if TYPE_CHECKING:
    from collections.abc import Iterator

JOB = "/openai/fine_tuning/jobs/ftjob-abc123"


@pytest.fixture
def fake() -> Iterator[FakeProvider]:
    with FakeProvider() as provider:
        yield provider


class Time:
    """Time that passes when somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.while_asleep: list[Any] = []

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        if self.while_asleep:
            self.while_asleep.pop(0)()

    def pace(self, **options: float) -> Pace:
        return Pace(sleep=self.sleep, monotonic_s=lambda: self.now_s, **options)


def waited(fake: FakeProvider, time: Time | None = None) -> tuple[list[str], JobState]:
    lines: list[str] = []
    ended: list[JobState] = []

    def follow() -> Iterator[str]:
        api = FineTuningApi(fake.provider("sk-0123456789abcdef"))
        pace = (time or Time()).pace(poll_s=30.0)
        ended.append((yield from wait_for_end(api, "ftjob-abc123", pace)))

    lines.extend(follow())
    return lines, ended[0]


def event(number: int, message: str, kind: str = "message") -> dict[str, Any]:
    return {"id": f"ev-{number}", "created_at": number, "message": message, "type": kind}


def test_a_job_is_followed_to_its_model(fake: FakeProvider) -> None:
    lines, state = waited(fake)

    assert lines == ["  0:00 queued", "  0:30 running", "  1:00 succeeded"]
    assert (state.fine_tuned_model, state.trained_tokens) == ("ft:gpt-x:org::abc", 42)


@pytest.mark.parametrize(
    ("job", "error"),
    [
        ({"status": "failed", "error": {"code": "x", "message": "Bad\ndata"}}, "Bad data"),
        ({"status": "failed", "error": {}}, ""),
        ({"status": "cancelled"}, ""),
    ],
)
def test_a_job_may_end_without_a_model(fake: FakeProvider, job: dict[str, Any], error: str) -> None:
    fake.states = [{"status": "validating_files"}, job]

    lines, state = waited(fake)

    assert lines == ["  0:00 validating files", f"  0:30 {job['status']}"]
    assert (state.status, state.error, state.fine_tuned_model) == (job["status"], error, None)


def test_events_are_told_once_and_in_order(fake: FakeProvider) -> None:
    fake.events = [event(1, "Created"), event(2, "Files checked")]
    time = Time()
    time.while_asleep = [lambda: fake.events.append(event(3, "Started")), lambda: None]

    lines, _ = waited(fake, time)

    assert lines == [
        "  0:00 queued",
        "  0:00 Created",
        "  0:00 Files checked",
        "  0:30 running",
        "  0:30 Started",
        "  1:00 succeeded",
    ]


def test_of_many_figures_the_last_one_is_told(fake: FakeProvider) -> None:
    fake.states = [{"status": "succeeded", "fine_tuned_model": "m"}]
    fake.events = [event(n, f"Step {n}/9", "metrics") for n in range(1, 10)]

    assert waited(fake)[0] == ["  0:00 succeeded", "  0:00 Step 9/9"]


def test_events_that_cannot_be_had_do_no_harm(fake: FakeProvider) -> None:
    fake.answers["GET", f"{JOB}/events"] = 403, openai_error("no")

    assert waited(fake)[0][-1] == "  1:00 succeeded"


@pytest.mark.parametrize("answer", [(503, "busy"), (429, openai_error("slow")), (200, "<html>")])
def test_a_provider_that_falters_is_asked_again(
    fake: FakeProvider, answer: tuple[int, str]
) -> None:
    fake.answers["GET", JOB] = answer
    time = Time()
    time.while_asleep = [fake.answers.clear]

    lines, _ = waited(fake, time)

    assert lines[:2] == ["  0:00 no answer, asking again", "  0:30 queued"]


def test_waiting_ends_when_nothing_answers_for_long(fake: FakeProvider) -> None:
    fake.answers["GET", JOB] = 500, openai_error("broken")

    with pytest.raises(FineTuningError) as caught:
        waited(fake)

    assert str(caught.value) == (
        "openai failed (500): broken; job ftjob-abc123 goes on without us, and the same command "
        "picks it up"
    )


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, CredentialsError), (403, ProviderRefusedError), (404, ProviderRefusedError)],
)
def test_a_refusal_is_told_at_once(fake: FakeProvider, status: int, kind: type[Exception]) -> None:
    fake.answers["GET", JOB] = status, openai_error("no sk-0123456789abcdef")

    with pytest.raises(kind) as caught:
        waited(fake)

    assert "0123456789abcdef" not in str(caught.value)
