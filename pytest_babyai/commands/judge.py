"""``judge``: gates over a run that has been played, as in the run itself."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any, Final

import click

from pytest_babyai.commands.compare import judged_lines
from pytest_babyai.commands.options import (
    RUN_HELP,
    config_option,
    fail_option,
    refuse_several,
    root_option,
    with_options,
)
from pytest_babyai.commands.places import run_of, run_side, side_of
from pytest_babyai.errors import SettingsError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from types import SimpleNamespace

    from pytest_babyai.commands.places import Side
    from pytest_babyai.gate import GateResult, Reference, Rule
    from pytest_babyai.journal import RunLog

_HELP: Final = f"""Judge a run by gates, without playing anything.

{RUN_HELP} Exit code 0: no gate failed; 1: one did; 4: a rule, a run or a baseline is wrong. Without
--fail the gates are those that the run was given.
"""


@click.command("judge", help=_HELP)
@click.argument("run", metavar="RUN")
@fail_option
@click.option("--compare", metavar="NAME|PATH", help="a baseline or run that changes refer to")
@click.option("--reference", metavar="VARIANT", help="the variant that changes refer to")
@config_option
@root_option
@with_options
def command(chosen: SimpleNamespace) -> Generator[str, None, int]:
    """Yields what the run lacks, and the verdicts of the gates."""
    from pytest_babyai.gate import evaluate_rules, parse_rules
    from pytest_babyai.reporting.terminal import wrapped

    refuse_several(chosen, "compare", "reference")
    log = run_of(chosen, chosen.run)
    place = "--fail" if chosen.fail else f"run {log.run_id}"
    rules: Sequence[Rule] = parse_rules(chosen.fail or _given_rules(log), place)
    side = run_side(log)
    notes = list(side.notes())
    reference = _reference(chosen, side, notes)
    if chosen.fail:
        _check(rules, side, reference)
    else:
        rules = _judging(rules, side, reference)
    gates: Sequence[GateResult] = evaluate_rules(rules, side.snapshot.scores, reference)
    for line in wrapped(notes, shutil.get_terminal_size().columns):
        yield line.text
    return (yield from judged_lines(gates))


def _given_rules(log: RunLog) -> list[str]:
    settings = log.manifest.session.settings
    given: Any = settings.get("fail") or []
    if isinstance(given, dict):
        given = given.get(settings.get("model"), [])
    if not given:
        raise SettingsError(
            f"run {log.run_id} was given no gates; name some, such as --fail='success>=0.8'"
        )
    return [str(rule) for rule in given]


def _reference(chosen: SimpleNamespace, side: Side, notes: list[str]) -> Reference | None:
    """Returns what changes refer to: a baseline or run, or a variant; None if neither is named."""
    from pytest_babyai.gate import Reference, check_comparable

    scores = side.snapshot.scores
    if chosen.compare is not None:
        old = side_of(chosen, "compare")
        notes += [*old.notes(), *check_comparable(side.snapshot, old.snapshot, label=old.label)]
        return Reference(old.label, old.snapshot.scores)
    if chosen.reference is None:
        return None
    if chosen.reference not in scores.variants:
        hint = did_you_mean(chosen.reference, scores.variants)
        raise SettingsError(f"--reference: {side.label} has no {chosen.reference!r}; {hint}")
    return Reference(f"variant {chosen.reference}", scores, chosen.reference)


def _check(rules: Sequence[Rule], side: Side, reference: Reference | None) -> None:
    from pytest_babyai.environment import TASKS
    from pytest_babyai.gate import check_rules

    scores = side.snapshot.scores
    check_rules(
        rules,
        variants=scores.variants,
        tasks=list(dict.fromkeys([*TASKS, *scores.tasks])),
        has_reference=reference is not None,
        place="--fail",
    )


def _judging(rules: Sequence[Rule], side: Side, reference: Reference | None) -> tuple[Rule, ...]:
    """Leaves out, as a run does, rules of a file that wait for other variants or a reference."""
    scores = side.snapshot.scores
    variants, tasks = {"*", *scores.variants}, {"*", None, *scores.tasks}
    return tuple(
        rule
        for rule in rules
        if rule.variant in variants
        and rule.task in tasks
        and (reference is not None or not rule.relative)
    )
