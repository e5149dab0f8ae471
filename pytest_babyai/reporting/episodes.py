"""Single episodes as text: why one failed, what was seen last, how to replay it; many as counts."""

from __future__ import annotations

import collections
import unicodedata
from typing import TYPE_CHECKING

from pytest_babyai.records import AnswerStatus, EpisodeFailure, EpisodeResult
from pytest_babyai.reporting.numbers import UNICODE, Symbols, count_of
from pytest_babyai.reporting.tables import shortened, table_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_babyai.records import Step
    from pytest_babyai.reporting.results import EpisodeReport, RunReport

NUM_STEPS_SHOWN = 6
_OBSERVATION_LIMIT = 160
_ANSWER_LIMIT = 60
_TEXT_LIMIT = 300


def below_threshold_text(report: EpisodeReport, symbols: Symbols = UNICODE) -> str:
    """Tells why an episode stayed below its threshold; the first line says it all.

    Then mission, the last steps as observation and action, the last thinking, the number of invalid
    answers, and the command that replays it. The trajectory may have been dropped.

    Raises:
        TypeError: The episode has no score.
    """
    result = report.outcome
    if not isinstance(result, EpisodeResult):
        raise TypeError("an episode without a score is told by failure_text")
    return "\n".join(_below_threshold_lines(report, result, symbols))


def _below_threshold_lines(
    report: EpisodeReport, result: EpisodeResult, symbols: Symbols
) -> Iterator[str]:
    reached, wanted = _distinct(result.progression, report.threshold)
    yield (
        f"progression {reached} below the threshold {wanted} "
        f"after {result.num_steps} of {count_of(result.max_steps, 'step')}"
    )
    yield f"mission: {one_line(result.mission, _TEXT_LIMIT, symbols)}"
    yield from _trajectory_lines(result.steps, symbols)
    if result.failed_candidates:
        yield f"invalid answers: {len(result.failed_candidates)} of {result.num_steps}"
    if result.num_fallbacks:
        yield f"random actions for failed requests: {result.num_fallbacks} of {result.num_steps}"
    yield f"replay: {report.replay}"


def failure_text(report: EpisodeReport, symbols: Symbols = UNICODE) -> str:
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
            f"{failure.kind} error: {one_line(failure.message, _TEXT_LIMIT, symbols)}",
            f"no score; {steps} played before it, {retries} repeated",
            f"replay: {report.replay}",
        ]
    )


def counts_lines(
    report: RunReport, *, width: int = 80, symbols: Symbols = UNICODE
) -> Iterator[str]:
    """Yields how many episodes failed: below threshold by variant and task, errors by kind.

    Nothing is yielded where nothing failed.
    """
    below = report.below_threshold()
    if below:
        num_scored = sum(summary.num_episodes for summary in report.by_variant())
        yield f"{len(below):,} of {count_of(num_scored, 'scored episode')} below their threshold:"
        headers = ["variant", *report.tasks]
        rows = list(_below_threshold_rows(report, symbols))
        yield from table_lines(headers, rows, width=width, ellipsis=symbols.ellipsis)
    kinds = {kind for each in report.by_variant() for kind in each.num_errors_by_kind}
    if kinds:
        num_errors = sum(summary.num_errors for summary in report.by_variant())
        yield f"{count_of(num_errors, 'error')} by kind:"
        headers = ["variant", *sorted(kinds)]
        rows = list(_error_rows(report, sorted(kinds)))
        yield from table_lines(headers, rows, width=width, ellipsis=symbols.ellipsis)


def _below_threshold_rows(report: RunReport, symbols: Symbols) -> Iterator[list[str]]:
    scored = collections.Counter(
        (each.spec.variant, each.spec.task)
        for each in report.episodes
        if isinstance(each.outcome, EpisodeResult)
    )
    below = collections.Counter(
        (each.spec.variant, each.spec.task) for each in report.below_threshold()
    )
    for variant in report.variants:
        pairs = [(variant, task) for task in report.tasks]
        cells = [
            f"{below[pair]}/{scored[pair]}" if scored[pair] else symbols.dash for pair in pairs
        ]
        yield [variant, *cells]


def _error_rows(report: RunReport, kinds: list[str]) -> Iterator[list[str]]:
    for summary in report.by_variant():
        if summary.failures:
            counts = summary.num_errors_by_kind
            yield [summary.variant, *(str(counts.get(kind, 0)) for kind in kinds)]


def _trajectory_lines(steps: tuple[Step, ...], symbols: Symbols) -> Iterator[str]:
    if not steps:
        return
    first = max(0, len(steps) - NUM_STEPS_SHOWN)
    yield f"last {count_of(len(steps) - first, 'step')}:"
    for number, step in enumerate(steps[first:], start=first + 1):
        yield f"  {number:>{len(str(len(steps)))}}  {_step_text(step, symbols)}"
    if steps[-1].thinking:
        yield f"last thinking: {one_line(steps[-1].thinking, _TEXT_LIMIT, symbols)}"


def _step_text(step: Step, symbols: Symbols) -> str:
    seen = one_line(step.observation, _OBSERVATION_LIMIT, symbols) or "nothing"
    answer = one_line(step.candidate, _ANSWER_LIMIT, symbols)
    remark = {
        AnswerStatus.VALID: "",
        AnswerStatus.UNKNOWN_ACTION: f' (invalid: answered "{answer}")',
        AnswerStatus.UNPARSABLE: f' (invalid: could not parse "{answer}")',
        AnswerStatus.CUT_OFF: f' (invalid: cut off after "{answer}")',
        AnswerStatus.FALLBACK: " (random: the request failed)",
    }[step.status]
    return f"{seen} {symbols.arrow} {step.action}{remark}"


def one_line(text: str, limit: int, symbols: Symbols = UNICODE) -> str:
    """Joins lines by ``"; "``, escapes what could steer a terminal, and shortens the rest.

    Models and providers write these texts: control and formatting characters (Unicode category C,
    among them changes of writing direction) show as Python escapes.
    """
    lines = (line.strip() for line in text.splitlines())
    joined = "; ".join(line for line in lines if line)
    escaped = "".join(map(_printable, joined[: limit + 1]))
    return shortened(escaped, limit, symbols.ellipsis)


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
