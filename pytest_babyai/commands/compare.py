"""``compare``: a run or baseline against another one, with gates as pytest has them."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from pytest_babyai.commands.options import (
    PATH,
    config_option,
    fail_option,
    root_option,
    with_options,
)
from pytest_babyai.commands.places import side_of
from pytest_babyai.errors import SettingsError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import SimpleNamespace

    from pytest_babyai.commands.places import Side
    from pytest_babyai.gate import GateResult
    from pytest_babyai.reporting.summary import Compared
    from pytest_babyai.reporting.terminal import Line

GATE_FAILED: Final = 1
"""Exit code where a gate failed; pytest's own for failed tests."""

_HELP: Final = """Compare two runs or baselines, and judge the second by gates.

A is what B is compared with. Each is a run (its id, any end of it, or 'latest'), or a baseline (its
name or path).
"""


@click.command("compare", help=_HELP)
@click.argument("reference", metavar="A")
@click.argument("candidate", metavar="B")
@fail_option
@click.option(
    "--metric",
    multiple=True,
    metavar="NAME",
    help="show this metric only, such as success (may be repeated)",
)
@click.option(
    "--margin",
    metavar="P",
    help="difference in success, progression or return that does not matter (default: 0.05)",
)
@click.option("-v", "--verbose", count=True, help="a table per variant, with both means")
@click.option("--md", type=PATH, metavar="FILE", help="write run B with the comparison as Markdown")
@config_option
@root_option
@with_options
def command(chosen: SimpleNamespace) -> Generator[str, None, int]:
    """Yields the comparison and the verdicts of the gates."""
    from pytest_babyai.environment import TASKS
    from pytest_babyai.gate import (
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
    old, new = side_of(chosen, "reference"), side_of(chosen, "candidate")
    notes = [*old.notes(), *new.notes()]
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
    yield from _compared(chosen, comparison)
    if gates:
        yield ""
    code = yield from judged_lines(gates)
    yield from written
    return code


def judged_lines(gates: Sequence[GateResult]) -> Generator[str, None, int]:
    """Yields what came of gates; returns the exit code."""
    from pytest_babyai.gate import GateOutcome
    from pytest_babyai.reporting.numbers import symbols_for
    from pytest_babyai.reporting.summary import judged
    from pytest_babyai.reporting.terminal import gate_lines

    width, symbols = shutil.get_terminal_size().columns, symbols_for(sys.stdout.encoding)
    for line in gate_lines(map(judged, gates), width=width, symbols=symbols):
        yield line.text
    return GATE_FAILED if any(gate.outcome is GateOutcome.FAILED for gate in gates) else 0


def _compared(chosen: SimpleNamespace, comparison: Compared) -> Iterator[str]:
    from pytest_babyai.reporting.numbers import symbols_for
    from pytest_babyai.reporting.terminal import comparison_lines, reference_lines, wrapped

    width, symbols = shutil.get_terminal_size().columns, symbols_for(sys.stdout.encoding)
    lines: list[Line] = []
    if chosen.metric and comparison.variants:
        lines += wrapped([note.text for note in comparison.notes], width)
        for metric in chosen.metric:
            lines += reference_lines(comparison, metric, width=width, symbols=symbols)
    else:
        lines += comparison_lines(
            comparison, width=width, verbosity=chosen.verbose, symbols=symbols
        )
    yield from (line.text for line in lines)


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


def _definitions(side: Side) -> dict[str, Mapping[str, Any]]:
    """Returns what variants were made of, as far as it was kept: a baseline keeps hashes."""
    if side.log is None:
        return {}
    return {name: each.contents for name, each in side.log.manifest.variants.items()}


def _write_markdown(
    path: Path, side: Side, comparison: Compared, gates: Sequence[GateResult]
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
