"""Runs of the journal as text: which there are, what their episodes came to, one step by step."""

from __future__ import annotations

import collections
import difflib
from typing import TYPE_CHECKING, Final

from pytest_babyai.errors import SettingsError
from pytest_babyai.records import AnswerStatus, EpisodeResult
from pytest_babyai.reporting.episodes import one_line
from pytest_babyai.reporting.numbers import (
    DASH,
    RATE,
    SCORE,
    TOKENS,
    UNICODE,
    Symbols,
    count_of,
    format_duration,
    format_number,
    translated,
)
from pytest_babyai.reporting.prompts import PromptRenderer
from pytest_babyai.reporting.results import EpisodeReport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from pytest_babyai.journal import Entry, RunLog
    from pytest_babyai.records import EpisodeOutcome, Step, Usage
    from pytest_babyai.reporting.prompts import Message

    StoredPrompts = Callable[[Sequence[str]], Mapping[str, tuple[Message, ...]]]

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
        rows.append(_run_cells(log, entries.values()))
        details.append([*_success_lines(entries.values()), *_damage_lines(log)])
    if len(rows) == 1:
        yield "no runs yet: every pytest run with episodes adds one"
        return
    for line, more in zip(_aligned(rows), details, strict=True):
        yield translated(line, symbols)
        yield from (f"  {translated(detail, symbols)}" for detail in more)


def show_lines(  # noqa: PLR0913 - what the command offers
    log: RunLog,
    nodeid: str | None = None,
    *,
    verbose: bool = False,
    prompts: bool = False,
    stored: StoredPrompts | None = None,
    symbols: Symbols = UNICODE,
) -> Iterator[str]:
    """Yields the episodes of a run, or one of them step by step.

    What models and providers wrote is shown with its control characters escaped.

    Args:
        log: The run.
        nodeid: An item's node id, or an end of it that no other has: ``baseline-goto-200``.
        verbose: Adds missions to the list of episodes, raw answers and inference ids to the steps.
        prompts: Adds the messages as sent to the steps.
        stored: Asks a store for the messages of inferences, by id; None renders them by the
            templates of the run.
        symbols: What the terminal can print.

    Raises:
        SettingsError: No episode of the run has this node id, or several have this end; or prompts
            are wanted of no episode.
    """
    if prompts and nodeid is None:
        raise SettingsError("--prompts needs an episode, such as baseline-goto-200")
    for line in _show_lines(log, nodeid, stored, verbose=verbose, prompts=prompts):
        yield translated(line, symbols)


def _show_lines(
    log: RunLog,
    nodeid: str | None,
    stored: StoredPrompts | None,
    *,
    verbose: bool,
    prompts: bool,
) -> Iterator[str]:
    by_nodeid = {entry.nodeid: entry for entry in log.latest().values()}
    if nodeid is None:
        yield from _header_lines(log, by_nodeid.values())
        yield from _episodes_lines(by_nodeid, verbose=verbose)
        yield from _damage_lines(log)
        return
    entry = log.with_steps(by_nodeid[_matching(nodeid, list(by_nodeid), log.run_id)])
    yield from _episode_lines(entry)
    messages = _messages(log, entry, stored) if prompts else []
    if prompts and not messages and entry.outcome.steps:
        lacking = "the store lacks them" if stored else "the run did not keep their templates"
        yield f"its prompts cannot be shown: {lacking}"
    for number, step in enumerate(entry.outcome.steps, start=1):
        yield ""
        yield f"step {number}"
        for message in messages[number - 1] if messages else ():
            yield from _message_lines(message)
        yield from _step_lines(step, verbose=verbose or prompts)


def _messages(
    log: RunLog, entry: Entry, stored: StoredPrompts | None
) -> Sequence[tuple[Message, ...]]:
    if stored is not None:
        ids = [step.inference_id or "" for step in entry.outcome.steps]
        found = stored([each for each in ids if each])
        return [found.get(each, ()) for each in ids] if found else ()
    definitions = {name: each.contents for name, each in log.manifest.variants.items()}
    renderer = PromptRenderer(definitions, entry.key.history_length)
    level = (entry.key.task, entry.key.seed)
    same = (
        each.outcome for each in log.latest().values() if (each.key.task, each.key.seed) == level
    )
    mission = next(filter(None, (getattr(each, "mission", None) for each in same)), None)
    return list(renderer.messages(EpisodeReport(entry.nodeid, entry.outcome, 1.0, ""), mission))


def _message_lines(message: Message) -> Iterator[str]:
    yield f"  {message.role} message"
    for line in message.text.split("\n"):
        yield f"  | {one_line(line, _UNLIMITED)}".rstrip()


def _run_cells(log: RunLog, entries: Iterable[Entry]) -> list[str]:
    scored = [isinstance(entry.outcome, EpisodeResult) for entry in entries]
    manifest = log.manifest
    return [
        log.run_id,
        manifest.created_at[:16].replace("T", " "),
        one_line(manifest.model_label, _MODEL_LIMIT),
        f"{sum(scored)}/{manifest.session.num_selected}",
        str(len(scored) - sum(scored)),
        log.state.value,
    ]


def _success_lines(entries: Iterable[Entry]) -> Iterator[str]:
    successes: dict[str, list[bool]] = collections.defaultdict(list)
    for entry in entries:
        if isinstance(entry.outcome, EpisodeResult):
            successes[entry.key.variant].append(entry.outcome.success)
    rates = [
        f"{one_line(variant, _MODEL_LIMIT)} {format_number(sum(values) / len(values), RATE)}"
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


def _header_lines(log: RunLog, entries: Iterable[Entry]) -> Iterator[str]:
    manifest, git = log.manifest, log.manifest.session.git
    started = manifest.created_at[:19].replace("T", " ")
    yield f"run {log.run_id}, {log.state.value}, started {started} UTC"
    yield f"model: {one_line(manifest.model_label, _UNLIMITED)}"
    if git:
        changes = " with uncommitted changes" if git.dirty else ""
        yield f"commit: {git.commit[:_HASH_DIGITS]}{changes}"
    if len(manifest.sessions) > 1:
        yield f"resumed: {count_of(len(manifest.sessions) - 1, 'time')}"
    yield from _success_lines(entries)


def _episodes_lines(by_nodeid: Mapping[str, Entry], *, verbose: bool) -> Iterator[str]:
    if not by_nodeid:
        yield "no episode was finished"
        return
    rows = [["episode", "outcome", "steps", "return", "time"]]
    rows += [_episode_cells(entry) for entry in by_nodeid.values()]
    missions = [None, *(getattr(entry.outcome, "mission", None) for entry in by_nodeid.values())]
    for line, mission in zip(_aligned(rows), missions, strict=True):
        yield line
        if verbose and mission:
            yield f"  mission: {one_line(mission, _UNLIMITED)}"


def _episode_cells(entry: Entry) -> list[str]:
    outcome = entry.outcome
    episode_return = outcome.episode_return if isinstance(outcome, EpisodeResult) else None
    return [
        one_line(entry.nodeid, _UNLIMITED),
        _verdict(outcome),
        str(outcome.num_steps),
        format_number(episode_return, SCORE),
        format_duration(outcome.duration_s),
    ]


def _episode_lines(entry: Entry) -> Iterator[str]:
    outcome = entry.outcome
    yield one_line(entry.nodeid, _UNLIMITED)
    spent = f"{format_duration(outcome.duration_s)}, {_tokens(outcome.usage)}"
    if isinstance(outcome, EpisodeResult):
        yield f"mission: {one_line(outcome.mission, _UNLIMITED)}"
        steps = f"{outcome.num_steps} of {count_of(outcome.max_steps, 'step')}"
        episode_return = format_number(outcome.episode_return, SCORE)
        yield f"{_verdict(outcome)} after {steps}, return {episode_return}, {spent}"
    else:
        yield f"{_verdict(outcome)}: {one_line(outcome.message, _UNLIMITED)}"
        yield f"no score; {count_of(outcome.num_steps, 'step')} played before it, {spent}"
    if outcome.num_steps and not outcome.steps:
        yield "its steps were not kept"


def _step_lines(step: Step, *, verbose: bool) -> Iterator[str]:
    yield from _field_lines("observation", step.observation)
    if step.reasoning:
        yield from _field_lines("reasoning", step.reasoning)
    if step.thinking:
        yield from _field_lines("thinking", step.thinking)
    yield from _field_lines("answer", step.candidate)
    yield f"  action       {one_line(step.action, _UNLIMITED)}{_REMARKS[step.status]}"
    reward = format_number(step.reward, SCORE)
    yield f"  reward       {reward} · {step.latency_ms:,.0f} ms · {_tokens(step.usage)}"
    if verbose:
        yield from _field_lines("raw answer", step.output)
        yield from _field_lines("finish", step.finish_reason or DASH)
        yield from _field_lines("model", step.model or DASH)
        yield from _field_lines("inference", step.inference_id or DASH)


def _field_lines(name: str, text: str) -> Iterator[str]:
    lines = [one_line(line, _UNLIMITED) for line in text.split("\n") if line.strip()]
    for number, line in enumerate(lines or [DASH]):
        yield f"  {'' if number else name:<12} {line}"


def _tokens(usage: Usage) -> str:
    read = format_number(usage.input_tokens, TOKENS)
    written = format_number(usage.output_tokens, TOKENS)
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
