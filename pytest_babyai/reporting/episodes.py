"""Single episodes as text: why one failed, what was seen last, how to replay it."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from pytest_babyai.records import AnswerStatus, EpisodeFailure, EpisodeResult
from pytest_babyai.reporting.numbers import count_of
from pytest_babyai.reporting.tables import shortened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_babyai.records import Step
    from pytest_babyai.reporting.results import EpisodeReport

NUM_STEPS_SHOWN = 6
_OBSERVATION_LIMIT = 160
_ANSWER_LIMIT = 60
_TEXT_LIMIT = 300


def below_threshold_text(report: EpisodeReport) -> str:
    """Tells why an episode stayed below its threshold; the first line says it all.

    Then mission, the last steps as observation and action, the last thinking, the number of invalid
    answers, and the command that replays it. The trajectory may have been dropped.

    Raises:
        TypeError: The episode has no score.
    """
    result = report.outcome
    if not isinstance(result, EpisodeResult):
        raise TypeError("an episode without a score is told by failure_text")
    return "\n".join(_below_threshold_lines(report, result))


def _below_threshold_lines(report: EpisodeReport, result: EpisodeResult) -> Iterator[str]:
    reached, wanted = _distinct(result.progression, report.threshold)
    yield (
        f"progression {reached} below the threshold {wanted} "
        f"after {result.num_steps} of {count_of(result.max_steps, 'step')}"
    )
    yield f"mission: {one_line(result.mission, _TEXT_LIMIT)}"
    yield from _trajectory_lines(result.steps)
    if result.failed_candidates:
        yield f"invalid answers: {len(result.failed_candidates)} of {result.num_steps}"
    if result.num_fallbacks:
        yield f"random actions for failed requests: {result.num_fallbacks} of {result.num_steps}"
    yield f"replay: {report.replay}"


def failure_text(report: EpisodeReport) -> str:
    """Tells why an episode has no score: kind and message, how far it came, how to replay it.

    Raises:
        TypeError: The episode has a score.
    """
    failure = report.outcome
    if not isinstance(failure, EpisodeFailure):
        raise TypeError("an episode with a score is told by below_threshold_text")
    steps, retries = count_of(failure.num_steps, "step"), count_of(failure.num_retries, "request")
    return "\n".join(
        [
            f"{failure.kind} error: {one_line(failure.message, _TEXT_LIMIT)}",
            f"no score; {steps} played before it, {retries} repeated",
            f"replay: {report.replay}",
        ]
    )


def _trajectory_lines(steps: tuple[Step, ...]) -> Iterator[str]:
    if not steps:
        return
    first = max(0, len(steps) - NUM_STEPS_SHOWN)
    yield f"last {count_of(len(steps) - first, 'step')}:"
    for number, step in enumerate(steps[first:], start=first + 1):
        yield f"  {number:>{len(str(len(steps)))}}  {_step_text(step)}"
    if steps[-1].thinking:
        yield f"last thinking: {one_line(steps[-1].thinking, _TEXT_LIMIT)}"


def _step_text(step: Step) -> str:
    seen = one_line(step.observation, _OBSERVATION_LIMIT) or "nothing"
    answer = one_line(step.candidate, _ANSWER_LIMIT)
    remark = {
        AnswerStatus.VALID: "",
        AnswerStatus.UNKNOWN_ACTION: f' (invalid: answered "{answer}")',
        AnswerStatus.UNPARSABLE: f' (invalid: could not parse "{answer}")',
        AnswerStatus.CUT_OFF: f' (invalid: cut off after "{answer}")',
        AnswerStatus.FALLBACK: " (random: the request failed)",
    }[step.status]
    return f"{seen} → {step.action}{remark}"


def one_line(text: str, limit: int) -> str:
    """Joins lines by ``"; "``, escapes what could steer a terminal, and shortens the rest.

    Models and providers write these texts: control and formatting characters (Unicode category C,
    among them changes of writing direction) show as Python escapes.
    """
    lines = (line.strip() for line in text.splitlines())
    joined = "; ".join(line for line in lines if line)
    escaped = "".join(map(_printable, joined[: limit + 1]))
    return shortened(escaped, limit, "…")


def _printable(character: str) -> str:
    if unicodedata.category(character).startswith("C"):
        return character.encode("unicode_escape").decode("ascii")
    return character


def _distinct(reached: float, wanted: float) -> tuple[str, str]:
    for decimals in range(2, 17):
        texts = f"{reached:.{decimals}f}", f"{wanted:.{decimals}f}"
        if texts[0] != texts[1]:
            return texts
    return repr(reached), repr(wanted)
