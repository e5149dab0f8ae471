"""``compare``: a run or baseline against another one, with gates as pytest has them."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_babyai.commands.places import add_root, journal_of
from pytest_babyai.errors import SettingsError, did_you_mean

if TYPE_CHECKING:
    import argparse
    from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence

    from pytest_babyai.gate import GateResult, RunSnapshot
    from pytest_babyai.journal import RunLog
    from pytest_babyai.reporting.summary import Compared
    from pytest_babyai.reporting.terminal import Line

GATE_FAILED: Final = 1
"""Exit code where a gate failed; pytest's own for failed tests."""

_SIDE_HELP: Final = "a run (its id, any end of it, or 'latest'), or a baseline (its name or path)"
_NUM_SUGGESTED: Final = 10


@dataclass(frozen=True, slots=True)
class _Side:
    """A run or baseline that the command names.

    Attributes:
        label: Names it in lines: ``baseline main``, ``run 20261123-180102-ab12``.
        snapshot: Its scores, and what played.
        log: The run, None for a baseline.
    """

    label: str
    snapshot: RunSnapshot
    log: RunLog | None = None


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "compare", help="compare two runs or baselines, and judge the second by gates"
    )
    parser.add_argument("reference", metavar="A", help=f"what B is compared with: {_SIDE_HELP}")
    parser.add_argument("candidate", metavar="B", help="what is judged; as A")
    parser.add_argument(
        "--fail",
        action="append",
        default=[],
        metavar="RULE",
        help="a gate, such as 'success<-0.05@95%%'; exit code 1 if it fails (may be repeated)",
    )
    parser.add_argument(
        "--metric",
        action="append",
        default=[],
        metavar="NAME",
        help="show this metric only, such as success (may be repeated)",
    )
    parser.add_argument(
        "--margin",
        metavar="P",
        help="difference in success, progression or return that does not matter (default: 0.05)",
    )
    parser.add_argument(
        "-v", "--verbose", action="count", default=0, help="a table per variant, with both means"
    )
    parser.add_argument(
        "--md", type=Path, metavar="FILE", help="write run B with the comparison as Markdown"
    )
    parser.add_argument(
        "--config", type=Path, metavar="DIR", help="where baselines are (default: config of --root)"
    )
    add_root(parser)
    parser.set_defaults(lines=_lines)


def _lines(chosen: argparse.Namespace) -> Generator[str, None, int]:
    from pytest_babyai.environment import TASKS
    from pytest_babyai.gate import (
        GateOutcome,
        Reference,
        check_comparable,
        check_rules,
        compare,
        evaluate_rules,
        parse_rules,
    )
    from pytest_babyai.reporting.artifacts import check_place
    from pytest_babyai.reporting.summary import compared, with_changes

    if chosen.md is not None:
        check_place("--md", chosen.md)
    rules = parse_rules(chosen.fail, "--fail") if chosen.fail else ()
    _check_metrics(chosen.metric)
    old, new = _side(chosen, "reference"), _side(chosen, "candidate")
    notes = [*_notes(old), *_notes(new)]
    notes += check_comparable(new.snapshot, old.snapshot, label=old.label)
    check_rules(
        rules,
        variants=_either([new.snapshot.scores.variants, old.snapshot.scores.variants]),
        tasks=_either([TASKS, new.snapshot.scores.tasks, old.snapshot.scores.tasks]),
        has_reference=True,
        place="--fail",
    )
    against = Reference(old.label, old.snapshot.scores)
    found = compare(new.snapshot.scores, against, margins=_margins(chosen.margin))
    comparison = with_changes(compared(found, notes), _definitions(new), _definitions(old))
    gates = evaluate_rules(rules, new.snapshot.scores, against)
    written = [*_write_markdown(chosen.md, new, comparison, gates)] if chosen.md else []
    yield from _printed(chosen, comparison, gates)
    yield from written
    return GATE_FAILED if any(gate.outcome is GateOutcome.FAILED for gate in gates) else 0


def _printed(
    chosen: argparse.Namespace,
    comparison: Compared,
    gates: Sequence[GateResult],
) -> Iterator[str]:
    from pytest_babyai.reporting.numbers import symbols_for
    from pytest_babyai.reporting.summary import judged
    from pytest_babyai.reporting.terminal import gate_lines

    width, symbols = shutil.get_terminal_size().columns, symbols_for(sys.stdout.encoding)
    for line in _compared(chosen, comparison, width):
        yield line.text
    if gates:
        yield ""
    for line in gate_lines(map(judged, gates), width=width, symbols=symbols):
        yield line.text


def _compared(chosen: argparse.Namespace, comparison: Compared, width: int) -> Iterator[Line]:
    from pytest_babyai.reporting.numbers import symbols_for
    from pytest_babyai.reporting.terminal import comparison_lines, reference_lines, wrapped

    symbols = symbols_for(sys.stdout.encoding)
    if not (chosen.metric and comparison.variants):
        yield from comparison_lines(
            comparison, width=width, verbosity=chosen.verbose, symbols=symbols
        )
        return
    yield from wrapped([note.text for note in comparison.notes], width)
    for metric in chosen.metric:
        yield from reference_lines(comparison, metric, width=width, symbols=symbols)


def _check_metrics(names: Iterable[str]) -> None:
    from pytest_babyai.gate import METRICS

    for name in names:
        if name not in METRICS:
            raise SettingsError(f"--metric: unknown metric {name!r}; {did_you_mean(name, METRICS)}")


def _either(parts: Iterable[Sequence[str]]) -> list[str]:
    return list(dict.fromkeys(name for part in parts for name in part))


def _margins(written: str | None) -> dict[str, float]:
    from pytest_babyai.reporting.summary import DEFAULT_MARGIN, margins
    from pytest_babyai.settings.values import number

    try:
        return margins(DEFAULT_MARGIN if written is None else number(0, 1)(written))
    except ValueError as expected:
        raise SettingsError(f"--margin: expected {expected}, found {written!r}") from None


def _side(chosen: argparse.Namespace, name: str) -> _Side:
    from pytest_babyai.environment import TASKS
    from pytest_babyai.gate import find_baseline, load_baseline
    from pytest_babyai.reporting.recorded import recorded_snapshot

    text, directory = getattr(chosen, name), _baselines(chosen)
    is_name = Path(text).name == text and not text.endswith(".json")
    log = _run(journal_of(chosen), text, directory) if is_name else None
    if log is not None:
        return _Side(f"run {log.run_id}", recorded_snapshot(log, TASKS), log)
    path = find_baseline(text, directory, place=f"the {name}")
    return _Side(f"baseline {text}", load_baseline(path))


def _run(root: Path, text: str, baselines: Path) -> RunLog | None:
    """Returns the run that a word means, None where it is the name of a baseline."""
    from pytest_babyai.journal import LATEST, open_run

    names = sorted(path.name for path in root.glob("*") if path.is_dir())
    matches = [name for name in names if name.startswith(text) or name.endswith(text)]
    blessed = sorted(path.stem for path in baselines.glob("*.json"))
    if text in blessed and matches and text not in matches:
        raise SettingsError(
            f"{text!r} is part of run {matches[-1]} and the name of a baseline; write the whole "
            f"id, or {baselines / text}.json"
        )
    if matches or (text == LATEST and names):
        return open_run(root, text)
    if text in blessed:
        return None
    known = [*blessed, *([LATEST] if names else []), *names[: -_NUM_SUGGESTED - 1 : -1]]
    hint = did_you_mean(text, known) if known else "there is none of either yet"
    raise SettingsError(f"{text!r} is no run in {root} and no baseline in {baselines}; {hint}")


def _baselines(chosen: argparse.Namespace) -> Path:
    from pytest_babyai.gate import BASELINES_DIRECTORY
    from pytest_babyai.project import find_config

    config: Path | None = chosen.config
    if config is not None and not config.is_dir():
        raise SettingsError(f"--config: there is no directory {config}")
    return (config or find_config(None, [chosen.root])) / BASELINES_DIRECTORY


def _notes(side: _Side) -> Iterator[str]:
    from pytest_babyai.reporting.numbers import count_of

    if side.log is None:
        return
    num_played = len(side.snapshot.scores.episodes)
    num_selected = side.log.manifest.session.num_selected
    if num_played < num_selected:
        yield f"{side.label} is not complete: {num_played:,} of {num_selected:,} episodes played"
    if side.log.problems:
        left_out = count_of(len(side.log.problems), "damaged line")
        yield f"{side.label}: {left_out} left out, {side.log.problems[0]}"


def _definitions(side: _Side) -> dict[str, Mapping[str, Any]]:
    """Returns what variants were made of, as far as it was kept: a baseline keeps hashes."""
    if side.log is None:
        return {}
    return {name: each.contents for name, each in side.log.manifest.variants.items()}


def _write_markdown(
    path: Path, side: _Side, comparison: Compared, gates: Sequence[GateResult]
) -> Iterator[str]:
    from pytest_babyai.environment import TASKS
    from pytest_babyai.reporting.artifacts import write_artifacts
    from pytest_babyai.reporting.recorded import provenance_of, recorded_run
    from pytest_babyai.reporting.summary import build_summary

    if side.log is None:
        raise SettingsError(f"--md: B has to be a run, and {side.label} keeps scores only")
    summary = build_summary(
        recorded_run(side.log, TASKS),
        comparisons=[comparison],
        gates=gates,
        provenance=provenance_of(side.log.manifest),
    )
    for written in write_artifacts({"md": path}, summary):
        yield f"{written} written"
