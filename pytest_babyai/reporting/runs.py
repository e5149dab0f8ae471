"""Runs of the journal as text: which there are, what their episodes came to, one step by step."""

from __future__ import annotations

import collections
import difflib
from typing import TYPE_CHECKING, Final

from pytest_babyai.errors import SettingsError
from pytest_babyai.records import AnswerStatus, EpisodeResult
from pytest_babyai.reporting.episodes import one_line
from pytest_babyai.reporting.numbers import (
    RATE,
    SCORE,
    TOKENS,
    UNICODE,
    Symbols,
    count_of,
    format_duration,
    format_number,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_babyai.journal import Entry, RunLog
    from pytest_babyai.records import EpisodeOutcome, Step, Usage

_UNLIMITED: Final = 1 << 24
_MODEL_LIMIT: Final = 28
_HASH_DIGITS: Final = 12
_NUM_NAMED: Final = 4
_REMARKS: Final = {
    AnswerStatus.VALID: "",
    AnswerStatus.UNKNOWN_ACTION: " (the answer is no known action)",
    AnswerStatus.UNPARSABLE: " (the answer could not be parsed)",
    AnswerStatus.CUT_OFF: " (the answer was cut off at its limit of tokens)",
    AnswerStatus.FALLBACK: " (random: the request failed)",
}


def runs_lines(logs: Iterable[RunLog], *, symbols: Symbols = UNICODE) -> Iterator[str]:
    """Yields a table of runs with the success rate by variant below each.

    Trajectories stay unread.
    """
    headers = ["run", "started (UTC)", "model", "episodes", "errors", "state"]
    rows: list[list[str]] = [headers]
    details: list[list[str]] = [[]]
    for log in logs:
        entries = log.latest()
        rows.append(_run_cells(log, entries.values(), symbols))
        details.append([*_success_lines(entries.values(), symbols), *_damage_lines(log)])
    if len(rows) == 1:
        yield "no runs yet: every pytest run with episodes adds one"
        return
    for line, more in zip(_aligned(rows), details, strict=True):
        yield line
        yield from (f"  {detail}" for detail in more)


def show_lines(
    log: RunLog, nodeid: str | None = None, *, verbose: bool = False, symbols: Symbols = UNICODE
) -> Iterator[str]:
    """Yields the episodes of a run, or one of them step by step.

    What models and providers wrote is shown with its control characters escaped.

    Args:
        log: The run.
        nodeid: An item's node id, or an end of it that no other has: ``baseline-goto-200``.
        verbose: Adds missions to the list of episodes, raw answers and inference ids to the steps.
        symbols: What the terminal can print.

    Raises:
        SettingsError: No episode of the run has this node id, or several have this end.
    """
    by_nodeid = {entry.nodeid: entry for entry in log.latest().values()}
    if nodeid is None:
        yield from _header_lines(log, by_nodeid.values(), symbols)
        yield from _episodes_lines(by_nodeid, symbols, verbose=verbose)
        yield from _damage_lines(log)
    else:
        entry = log.with_steps(by_nodeid[_matching(nodeid, list(by_nodeid), log.run_id)])
        yield from _episode_lines(entry, symbols)
        for number, step in enumerate(entry.outcome.steps, start=1):
            yield ""
            yield from _step_lines(number, step, symbols, verbose=verbose)


def _run_cells(log: RunLog, entries: Iterable[Entry], symbols: Symbols) -> list[str]:
    scored = [isinstance(entry.outcome, EpisodeResult) for entry in entries]
    manifest = log.manifest
    return [
        log.run_id,
        manifest.created_at[:16].replace("T", " "),
        one_line(manifest.model_label, _MODEL_LIMIT, symbols),
        f"{sum(scored)}/{manifest.session.num_selected}",
        str(len(scored) - sum(scored)),
        log.state.value,
    ]


def _success_lines(entries: Iterable[Entry], symbols: Symbols) -> Iterator[str]:
    successes: dict[str, list[bool]] = collections.defaultdict(list)
    for entry in entries:
        if isinstance(entry.outcome, EpisodeResult):
            successes[entry.key.variant].append(entry.outcome.success)
    rates = [
        f"{one_line(variant, _MODEL_LIMIT, symbols)} "
        f"{format_number(sum(values) / len(values), RATE, symbols)}"
        for variant, values in sorted(successes.items())
    ]
    if rates:
        yield f"success: {', '.join(rates)}"


def _damage_lines(log: RunLog) -> Iterator[str]:
    if log.problems:
        skipped = count_of(len(log.problems), "damaged line")
        yield f"{skipped} skipped: {one_line(log.problems[0], _UNLIMITED)}"
    if log.num_torn:
        yield "the last line is unfinished: its episode counts as not played"


def _header_lines(log: RunLog, entries: Iterable[Entry], symbols: Symbols) -> Iterator[str]:
    manifest, git = log.manifest, log.manifest.session.git
    started = manifest.created_at[:19].replace("T", " ")
    yield f"run {log.run_id}, {log.state.value}, started {started} UTC"
    yield f"model: {one_line(manifest.model_label, _UNLIMITED, symbols)}"
    if git:
        changes = " with uncommitted changes" if git.dirty else ""
        yield f"commit: {git.commit[:_HASH_DIGITS]}{changes}"
    if len(manifest.sessions) > 1:
        yield f"resumed: {count_of(len(manifest.sessions) - 1, 'time')}"
    yield from _success_lines(entries, symbols)


def _episodes_lines(
    by_nodeid: Mapping[str, Entry], symbols: Symbols, *, verbose: bool
) -> Iterator[str]:
    if not by_nodeid:
        yield "no episode was finished"
        return
    rows = [["episode", "outcome", "steps", "return", "time"]]
    rows += [_episode_cells(entry, symbols) for entry in by_nodeid.values()]
    missions = [None, *(getattr(entry.outcome, "mission", None) for entry in by_nodeid.values())]
    for line, mission in zip(_aligned(rows), missions, strict=True):
        yield line
        if verbose and mission:
            yield f"  mission: {one_line(mission, _UNLIMITED, symbols)}"


def _episode_cells(entry: Entry, symbols: Symbols) -> list[str]:
    outcome = entry.outcome
    episode_return = outcome.episode_return if isinstance(outcome, EpisodeResult) else None
    return [
        one_line(entry.nodeid, _UNLIMITED, symbols),
        _verdict(outcome),
        str(outcome.num_steps),
        format_number(episode_return, SCORE, symbols),
        format_duration(outcome.duration_s),
    ]


def _episode_lines(entry: Entry, symbols: Symbols) -> Iterator[str]:
    outcome = entry.outcome
    yield one_line(entry.nodeid, _UNLIMITED, symbols)
    spent = f"{format_duration(outcome.duration_s)}, {_tokens(outcome.usage, symbols)}"
    if isinstance(outcome, EpisodeResult):
        yield f"mission: {one_line(outcome.mission, _UNLIMITED, symbols)}"
        steps = f"{outcome.num_steps} of {count_of(outcome.max_steps, 'step')}"
        episode_return = format_number(outcome.episode_return, SCORE, symbols)
        yield f"{_verdict(outcome)} after {steps}, return {episode_return}, {spent}"
    else:
        yield f"{_verdict(outcome)}: {one_line(outcome.message, _UNLIMITED, symbols)}"
        yield f"no score; {count_of(outcome.num_steps, 'step')} played before it, {spent}"
    if outcome.num_steps and not outcome.steps:
        yield "its steps were not kept"


def _step_lines(number: int, step: Step, symbols: Symbols, *, verbose: bool) -> Iterator[str]:
    yield f"step {number}"
    yield from _field_lines("observation", step.observation, symbols)
    if step.thinking:
        yield from _field_lines("thinking", step.thinking, symbols)
    yield from _field_lines("answer", step.candidate, symbols)
    yield f"  action       {one_line(step.action, _UNLIMITED, symbols)}{_REMARKS[step.status]}"
    reward = format_number(step.reward, SCORE, symbols)
    tokens = _tokens(step.usage, symbols)
    yield f"  reward       {reward} {symbols.dot} {step.latency_ms:,.0f} ms {symbols.dot} {tokens}"
    if verbose:
        yield from _field_lines("raw answer", step.output, symbols)
        yield from _field_lines("inference", step.inference_id or symbols.dash, symbols)


def _field_lines(name: str, text: str, symbols: Symbols) -> Iterator[str]:
    lines = [one_line(line, _UNLIMITED, symbols) for line in text.split("\n") if line.strip()]
    for number, line in enumerate(lines or [symbols.dash]):
        yield f"  {'' if number else name:<12} {line}"


def _tokens(usage: Usage, symbols: Symbols) -> str:
    read = format_number(usage.input_tokens, TOKENS, symbols)
    written = format_number(usage.output_tokens, TOKENS, symbols)
    return f"{read} + {written} tokens"


def _verdict(outcome: EpisodeOutcome) -> str:
    if isinstance(outcome, EpisodeResult):
        return "solved" if outcome.success else "not solved"
    return f"{outcome.kind} error"


def _matching(wanted: str, nodeids: Sequence[str], run_id: str) -> str:
    if wanted in nodeids:
        return wanted
    matches = [nodeid for nodeid in nodeids if wanted and nodeid.endswith((wanted, f"{wanted}]"))]
    whole = [nodeid for nodeid in matches if nodeid.endswith(f"[{wanted}]")]
    if len(whole or matches) == 1:
        return (whole or matches)[0]
    if matches:
        some = ", ".join(matches[:_NUM_NAMED]) + (", ..." if len(matches) > _NUM_NAMED else "")
        raise SettingsError(
            f"{wanted!r} names {count_of(len(matches), 'episode')} of run {run_id}: {some}"
        )
    raise SettingsError(f"no episode {wanted!r} in run {run_id}: {_suggestion(wanted, nodeids)}")


def _suggestion(wanted: str, nodeids: Sequence[str]) -> str:
    short = {nodeid.rpartition("[")[2].removesuffix("]"): nodeid for nodeid in nodeids}
    close = difflib.get_close_matches(wanted, [*short, *nodeids], n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"it has {count_of(len(nodeids), 'episode')}; name none to list them"


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()
