"""How often intervals, verdicts, gates and stopping are wrong, by simulation.

    python -m tests.benchmarks.honesty [TABLE...] [--runs=N]

Simulated runs, judged by the real code. Outcomes are clustered as in reality: a seed has a
difficulty that all variants share, and a variant has seeds that suit it. Every table says what was
promised. Arguments: names of tables; ``--runs=N`` for more or fewer runs a row.
"""

from __future__ import annotations

import functools
import itertools
import math
import sys
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import special

from pytest_babyai.gate import (
    GateOutcome,
    Reference,
    RunScores,
    Verdict,
    compare,
    evaluate_rules,
    parse_rules,
    scored,
    unscored,
)
from pytest_babyai.gate import judge as gate_judge
from pytest_babyai.playing.stopping import Decisions, DecisionStop
from pytest_babyai.records import EpisodeSpec
from pytest_babyai.statistics import (
    Evidence,
    detectable_difference,
    difference_evidence,
    mean_evidence,
)
from pytest_babyai.statistics.sequential import FUTILITY, nominal_alphas, planned_looks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from pytest_babyai.gate import GateResult

    Floats = NDArray[np.float64]
    Pair = tuple[str, int]

TASKS = ("goto", "open", "pick_up_seq_go_to", "pickup", "putnext")
SHARED, OWN = (1.5, 0.3), (0.3, 1.5)
"""Spread of the seeds' difficulty that variants share, and of what suits one of them, in logits."""


@functools.cache
def intercept(rate: float, spread: float) -> float:
    """Returns the logit whose mean success over seeds of that spread is ``rate``."""
    points = special.ndtri((np.arange(2_000) + 0.5) / 2_000) * spread
    low, high = -40.0, 40.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (
            (middle, high) if special.expit(middle + points).mean() < rate else (low, middle)
        )
    return low


def outcomes(
    rng: np.random.Generator,
    rates: Sequence[float],
    num_seeds: int,
    *,
    num_tasks: int = 5,
    effects: tuple[float, float] = SHARED,
) -> Floats:
    """Returns successes by variant, seed and task."""
    shared, own = effects
    spread = math.hypot(shared, own)
    shape = len(rates), num_seeds, num_tasks
    seeds = rng.normal(0, shared, (1, num_seeds, 1)) + rng.normal(0, own, (*shape[:2], 1))
    logits = np.array([intercept(rate, spread) for rate in rates])[:, None, None] + seeds
    return (rng.random(shape) < special.expit(logits)).astype(float)


def by_pair(values: Floats) -> dict[Pair, tuple[float, ...]]:
    """Returns successes of one variant by (task, seed)."""
    num_seeds, num_tasks = values.shape
    return {
        (TASKS[task], seed): (float(values[seed, task]),)
        for seed, task in itertools.product(range(num_seeds), range(num_tasks))
    }


def run_of(values: Floats, num_errors: int = 0) -> RunScores:
    """Returns a run of variants v0, v1, …; v1 begins with that many errors."""
    places = [
        (EpisodeSpec(f"v{variant}", TASKS[task], seed), float(value))
        for (variant, seed, task), value in np.ndenumerate(values)
    ]
    return RunScores.of_outcomes(
        unscored(spec, "rate limit")
        if spec.variant == "v1"
        and spec.seed * values.shape[2] + TASKS.index(spec.task) < num_errors
        else scored(spec, value, value, 10)
        for spec, value in places
    )


class Coverage(NamedTuple):
    """What intervals of a difference and of a share do, as shares of the runs."""

    of_difference: float
    of_share: float
    tied: float
    wrong: float
    half_width: float


def coverage(  # noqa: PLR0913 -- what a row varies
    rng: np.random.Generator,
    rates: tuple[float, float],
    num_seeds: int,
    *,
    num_tasks: int = 5,
    effects: tuple[float, float] = SHARED,
    num_missing: int = 0,
    num_runs: int = 400,
) -> Coverage:
    """Returns how often 95 % intervals hold the truth, and what is said with a margin of 0.05."""
    found = []
    truth = rates[0] - rates[1]
    for _ in range(num_runs):
        values = outcomes(rng, rates, num_seeds, num_tasks=num_tasks, effects=effects)
        first, second = by_pair(values[0]), by_pair(values[1])
        for pair in list(second)[:num_missing]:
            del second[pair]
        apart = difference_evidence(first, second, low=0, high=1).interval()
        single = mean_evidence(first, low=0, high=1).interval()
        assert apart is not None
        assert single is not None
        is_tied = apart.low >= -0.05 and apart.high <= 0.05
        is_wrong = (apart.low > 0 and truth <= 0) or (apart.high < 0 and truth >= 0)
        found.append(
            (
                apart.low <= truth <= apart.high,
                single.low <= rates[0] <= single.high,
                is_tied,
                is_wrong and not is_tied,
                apart.half_width,
            )
        )
    return Coverage(*np.mean(found, axis=0).tolist())


def share_of_runs(happens: Callable[[], bool], num_runs: int) -> float:
    """Returns how often it happens."""
    return sum(happens() for _ in range(num_runs)) / num_runs


def false_verdicts(
    rng: np.random.Generator, rate: float, num_seeds: int, num_variants: int, num_runs: int
) -> float:
    """Returns how often one of several equal variants is called better or worse than the first."""

    def happens() -> bool:
        values = outcomes(rng, [rate] * num_variants, num_seeds, effects=OWN)
        sides = [by_pair(each) for each in values]
        evidence = [difference_evidence(side, sides[0], low=0, high=1) for side in sides[1:]]
        return any(alarm for alarm in _holm(evidence))

    return share_of_runs(happens, num_runs)


def _holm(evidence: Sequence[Evidence]) -> Iterator[bool]:
    from pytest_babyai.statistics import holm_alphas

    p_values = [each.p_value() for each in evidence]
    alphas = holm_alphas(p_values, 0.05)
    yield from (p <= alpha for p, alpha in zip(p_values, alphas, strict=True))


def judged(rule: str, run: RunScores, reference: RunScores | None = None) -> tuple[GateResult, ...]:
    """Returns what a rule comes to."""
    return evaluate_rules(
        parse_rules(rule), run, Reference("baseline main", reference) if reference else None
    )


def gate_outcomes(
    rng: np.random.Generator, rule: str, rates: tuple[float, float], num_seeds: int, num_runs: int
) -> dict[GateOutcome, float]:
    """Returns how often a rule about v0 comes to what, against a baseline of another rate."""
    counts = dict.fromkeys(GateOutcome, 0)
    for _ in range(num_runs):
        values = outcomes(rng, rates, num_seeds, effects=OWN)
        (result,) = judged(rule, run_of(values[:1]), run_of(values[1:]))
        counts[result.outcome] += 1
    return {outcome: number / num_runs for outcome, number in counts.items()}


class Sequential(NamedTuple):
    """What a sequential run comes to, as shares of the runs and of the seeds there could be."""

    better: float
    worse: float
    seeds: float


def decided(  # noqa: PLR0913 -- what a row varies
    rng: np.random.Generator,
    rates: Sequence[float],
    num_seeds: int,
    *,
    effects: tuple[float, float] = OWN,
    num_runs: int = 200,
    looks_once: bool = False,
) -> Sequential:
    """Returns how often any variant is called better or worse than v0, and the seeds it took.

    Args:
        rng: Source of chance.
        rates: Success rates; the first is that of the reference.
        num_seeds: Seeds at most.
        effects: Spread of the seeds.
        num_runs: Runs.
        looks_once: Whether the run is played to its end and looked at once.
    """
    better = worse = played = 0
    asked = Decisions(reference="v0", margins={"success": 0.05})
    for _ in range(num_runs):
        run = run_of(outcomes(rng, rates, num_seeds, effects=effects))
        in_order = sorted(run.episodes, key=lambda each: each.spec.seed)
        stop = DecisionStop(asked, [each.spec for each in in_order])
        count = 0
        for outcome in in_order:
            if looks_once or stop.reason(outcome.spec.variant) is None:
                stop.record(outcome)
                count += outcome.spec.variant != "v0"
        played += count
        scores = run if looks_once else stop.seen(run)
        spend = gate_judge.spend_all if looks_once else stop.spend
        found = compare(scores, Reference("variant v0", scores, "v0"), spend=spend)
        verdicts = {each.metrics["success"].verdict for each in found.variants}
        better += Verdict.BETTER in verdicts
        worse += Verdict.WORSE in verdicts
    most = num_runs * num_seeds * len(TASKS) * (len(rates) - 1)
    return Sequential(better / num_runs, worse / num_runs, played / most)


# --- Which sequential test? Seed-level differences, all runs at once. ---


def group_sequential(differences: Floats, effect: float) -> tuple[Floats, Floats]:  # noqa: ARG001
    """Returns decision (-1, 0, 1) and seeds of each run: alpha spending with a futility stop."""
    num_runs, most = differences.shape
    looks = planned_looks(most)
    alphas = nominal_alphas(0.05, looks)
    decision, seeds = np.zeros(num_runs), np.full(num_runs, float(most))
    playing = np.ones(num_runs, bool)
    drift = special.ndtri(0.975) + special.ndtri(0.8)
    needed = -special.ndtri(alphas[-1] / 2)
    for look, alpha in zip(looks, alphas, strict=True):
        part, time = differences[:, :look], look / most
        t = part.mean(1) / (part.std(1, ddof=1) / math.sqrt(look))
        hit = playing & (2 * special.stdtr(look - 1, -abs(t)) <= alpha)
        decision[hit], seeds[hit] = np.sign(t[hit]), look
        playing &= ~hit
        if time < 1:
            z = -special.ndtri(np.maximum(special.stdtr(look - 1, -abs(t)), 1e-300))
            ahead = (z * math.sqrt(time) + drift * (1 - time) - needed) / math.sqrt(1 - time)
            futile = playing & (special.ndtr(ahead) < FUTILITY)
            seeds[futile] = look
            playing &= ~futile
    return decision, seeds


def gsprt(differences: Floats, effect: float) -> tuple[Floats, Floats]:
    """As `group_sequential`: two generalized SPRTs, 0 against plus and against minus ``effect``."""
    num_runs, most = differences.shape
    upper, lower = math.log(0.8 / 0.025), math.log(0.2 / 0.975)
    decision, seeds = np.zeros(num_runs), np.full(num_runs, float(most))
    playing = np.ones(num_runs, bool)
    for look in range(4, most + 1):
        part = differences[:, :look]
        variance = part.var(1, ddof=1)
        ratios = [look * effect * (sign * part.mean(1) - effect / 2) / variance for sign in (1, -1)]
        for sign, ratio in zip((1, -1), ratios, strict=True):
            hit = playing & (ratio >= upper)
            decision[hit], seeds[hit] = sign, look
            playing &= ~hit
        accepted = playing & (ratios[0] <= lower) & (ratios[1] <= lower)
        seeds[accepted] = look
        playing &= ~accepted
    return decision, seeds


def betting(differences: Floats, effect: float) -> tuple[Floats, Floats]:  # noqa: ARG001
    """As `group_sequential`: a betting confidence sequence of Waudby-Smith and Ramdas 2024."""
    num_runs, most = differences.shape
    values = (np.clip(differences, -1, 1) + 1) / 2
    numbers = np.arange(1, most + 1)
    means = (0.5 + np.cumsum(values, 1)) / (numbers + 1)
    squares = 0.25 + np.cumsum((values - means) ** 2, 1)
    variance = np.hstack([np.full((num_runs, 1), 0.25), (squares / (numbers + 1))[:, :-1]])
    bets = np.minimum(np.sqrt(2 * math.log(2 / 0.05) / (variance * most)), 1.5)
    capital = [np.log1p(sign * bets * (values - 0.5)).cumsum(1) for sign in (1, -1)]
    crossed = [each >= math.log(2 / 0.05) for each in capital]
    first = [np.where(each.any(1), each.argmax(1) + 1, most + 1) for each in crossed]
    decision = np.where(first[0] < first[1], 1.0, np.where(first[1] < first[0], -1.0, 0.0))
    return decision, np.minimum(np.minimum(*first), most).astype(float)


def fixed(differences: Floats, effect: float) -> tuple[Floats, Floats]:  # noqa: ARG001
    """As `group_sequential`: the t-test of a run that is looked at once."""
    num_runs, most = differences.shape
    t = differences.mean(1) / (differences.std(1, ddof=1) / math.sqrt(most))
    holds = 2 * special.stdtr(most - 1, -abs(t)) <= 0.05
    return np.where(holds, np.sign(t), 0.0), np.full(num_runs, float(most))


METHODS = {
    "fixed run": fixed,
    "alpha spending": group_sequential,
    "GSPRT": gsprt,
    "betting": betting,
}


def tables(num_runs: int) -> dict[str, Callable[[], Iterator[str]]]:
    """Returns the tables by name; each yields its lines."""
    return {
        "coverage": lambda: coverage_table(num_runs),
        "verdicts": lambda: verdict_table(num_runs),
        "gates": lambda: gate_table(num_runs),
        "methods": lambda: method_table(20 * num_runs),
        "decide": lambda: decide_table(max(1, num_runs // 4)),
    }


def coverage_table(num_runs: int) -> Iterator[str]:
    """Yields coverage of 95 % intervals, and false or hasty verdicts with a margin of 0.05."""
    yield (
        "| success | tasks | seeds | seed effects | missing pairs | difference covered | "
        "share covered | tied | wrong verdict |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    rng = np.random.default_rng(15)
    cells = itertools.product(
        ((0.05, 0.05), (0.5, 0.5), (0.8, 0.75), (0.9, 0.98), (0.94, 0.99), (0.99, 0.99)),
        (1, 5),
        (2, 5, 10, 20, 40),
        (SHARED, OWN),
    )
    for rates, num_tasks, num_seeds, effects in cells:
        num_missing = num_seeds * num_tasks // 10 if effects is OWN else 0
        found = coverage(
            rng, rates, num_seeds,
            num_tasks=num_tasks, effects=effects, num_missing=num_missing, num_runs=num_runs,
        )  # fmt: skip
        kind = "shared" if effects is SHARED else "own"
        yield (
            f"| {rates[0]:g} / {rates[1]:g} | {num_tasks} | {num_seeds} | {kind} | {num_missing} | "
            f"{found.of_difference:.1%} | {found.of_share:.1%} | {found.tied:.1%} | "
            f"{found.wrong:.1%} |"
        )


def verdict_table(num_runs: int) -> Iterator[str]:
    """Yields how often any of several equal variants is called better or worse; 5 % are allowed."""
    yield "| success | seeds | variants | any false verdict |"
    yield "|---|---|---|---|"
    rng = np.random.default_rng(16)
    for rate, num_seeds, number in itertools.product((0.05, 0.5, 0.95), (5, 20), (2, 4, 8)):
        share = false_verdicts(rng, rate, num_seeds, number, num_runs)
        yield f"| {rate:g} | {num_seeds} | {number} | {share:.1%} |"


def gate_table(num_runs: int) -> Iterator[str]:
    """Yields what rules come to at their bound; false failures and false proofs: 2.5 %."""
    yield "| rule | truth | reference | seeds | failed | passed | inconclusive |"
    yield "|---|---|---|---|---|---|---|"
    rng = np.random.default_rng(17)
    rows = (
        ("success>=0.8", (0.8, 0.8)),
        ("success>=0.95", (0.95, 0.95)),
        ("success>=0.8!", (0.8, 0.8)),
        ("success<0", (0.6, 0.6)),
        ("success<-0.05", (0.9, 0.95)),
        ("success<-0.05!", (0.9, 0.95)),
        ("success<-0.05!", (0.95, 0.95)),
    )
    for (rule, rates), num_seeds in itertools.product(rows, (5, 20, 40)):
        found = gate_outcomes(rng, rule, rates, num_seeds, num_runs)
        shares = " | ".join(
            f"{found[outcome]:.1%}"
            for outcome in (GateOutcome.FAILED, GateOutcome.PASSED, GateOutcome.INCONCLUSIVE)
        )
        yield f"| `{rule}` | {rates[0]:g} | {rates[1]:g} | {num_seeds} | {shares} |"


def method_table(num_runs: int) -> Iterator[str]:
    """Yields what three sequential tests promise and cost, on normal differences of seeds."""
    yield (
        "| seeds at most | method | false, each side | power | power at twice | seeds at 0 | "
        "at detectable | at twice |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for most, (name, method) in itertools.product((20, 40, 100), METHODS.items()):
        effect = detectable_difference(0.3 / math.sqrt(most), most)
        found = []
        for truth in (0.0, effect, 2 * effect):
            rng = np.random.default_rng(18)
            decision, seeds = method(rng.normal(truth, 0.3, (num_runs, most)), effect)
            found.append(((decision > 0).mean(), (decision < 0).mean(), seeds.mean() / most))
        null, alternative, twice = found
        yield (
            f"| {most} | {name} | {(null[0] + null[1]) / 2:.2%} | {alternative[0]:.1%} | "
            f"{twice[0]:.1%} | {null[2]:.0%} | {alternative[2]:.0%} | {twice[2]:.0%} |"
        )


def decide_table(num_runs: int) -> Iterator[str]:
    """Yields what `--babyai-decide` does with successes, by the code that plays."""
    yield (
        "| success | seeds at most | better | worse | seeds played | looked at once: better | "
        "worse |"
    )
    yield "|---|---|---|---|---|---|---|"
    rows = (
        ((0.5, 0.5), 20), ((0.5, 0.5), 40), ((0.9, 0.9), 40), ((0.5, 0.62), 40),
        ((0.5, 0.74), 40), ((0.2, 0.7), 20), ((0.5, 0.5, 0.5, 0.5), 40),
        ((0.5, 0.75, 0.5, 0.5), 40),
    )  # fmt: skip
    for rates, most in rows:
        found = decided(np.random.default_rng(19), rates, most, num_runs=num_runs)
        once = decided(np.random.default_rng(19), rates, most, num_runs=num_runs, looks_once=True)
        names = " / ".join(f"{rate:g}" for rate in rates)
        yield (
            f"| {names} | {most} | {found.better:.1%} | {found.worse:.1%} | {found.seeds:.0%} | "
            f"{once.better:.1%} | {once.worse:.1%} |"
        )


def main(arguments: Sequence[str]) -> None:
    """Prints the tables that are named, all of them without a name."""
    runs = [each.removeprefix("--runs=") for each in arguments if each.startswith("--runs=")]
    known = tables(int(runs[0]) if runs else 1_000)
    for name in [each for each in arguments if not each.startswith("--")] or known:
        print(f"\n{name}\n")
        for line in known[name]():
            print(line, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
