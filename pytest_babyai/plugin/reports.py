"""Outcomes of episodes, translated into pytest's reports."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from pytest_babyai.plugin.recording import carry_finished
from pytest_babyai.records import (
    EpisodeFailure,
    EpisodeOutcome,
    EpisodeResult,
    outcome_from_record,
    outcome_kind,
)
from pytest_babyai.reporting import recorded
from pytest_babyai.reporting.episodes import below_threshold_text, failure_text
from pytest_babyai.reporting.results import EpisodeReport

if TYPE_CHECKING:
    from pytest_babyai.errors import UsageError
    from pytest_babyai.plugin.selection import ItemPlan
    from pytest_babyai.plugin.session import EpisodeSession

OUTCOME = pytest.StashKey[EpisodeOutcome]()
WAITED_S = pytest.StashKey[float]()

ATTRIBUTE = "babyai_episode"
"""Attribute of a test report that carries an episode as plain types, also between processes."""

CONCURRENCY = "babyai_concurrency"
"""Name under which a worker tells its decisions on concurrency."""

FINISHED = "babyai_finished"
"""Attribute of a worker's report that carries all episodes that have finished since the last."""

REFUSED = "babyai_refused"
"""Attribute of a worker's report that carries the line why no process can go on."""

_REFUSAL = pytest.StashKey[str]()


def end_run(item: pytest.Item, error: UsageError) -> NoReturn:
    """Ends the run, as it cannot go on.

    Args:
        item: The item that it cannot go on with. In a worker process its report lets the
            controller end the run.
        error: Why.

    Raises:
        pytest.exit.Exception: In the only process.
        pytest.fail.Exception: In a worker process.
    """
    if hasattr(item.config, "workerinput"):
        item.stash[_REFUSAL] = str(error)
        pytest.fail(str(error), pytrace=False)
    pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)


def attach_refusal(item: pytest.Item, report: pytest.TestReport) -> None:
    """Lets a report carry the reason why the run cannot go on."""
    if _REFUSAL in item.stash:
        setattr(report, REFUSED, item.stash[_REFUSAL])


def enforce_threshold(
    session: EpisodeSession, item: pytest.Item, error: BaseException | None
) -> None:
    """Fails a test whose episode stayed below its threshold, where the gate says so.

    Args:
        session: The session.
        item: The test, after its body.
        error: What the body raised, None if it ended well.

    Raises:
        pytest.fail.Exception: The episode stayed below, and such an episode is no expected failure.
    """
    text = None if _is_expected(session, item) else _below_threshold_text(session, item)
    if text is None:
        return
    if error is not None:
        text = f"{text}\n{type(error).__name__}: {error}"
    raise pytest.fail.Exception(text, pytrace=False) from None


def expect_failure(session: EpisodeSession, item: pytest.Item, report: pytest.TestReport) -> None:
    """Makes the report of an episode below its threshold an expected failure, where it is one.

    Raising ``xfail`` in the test would do the same, after milliseconds of looking at the stack.
    """
    if report.when != "call" or not _is_expected(session, item):
        return
    text = _below_threshold_text(session, item)
    if text is not None:
        report.outcome = "skipped"
        report.wasxfail = text.partition("\n")[0]


def _below_threshold_text(session: EpisodeSession, item: pytest.Item) -> str | None:
    plan, outcome = session.plan_of(item), item.stash.get(OUTCOME, None)
    if plan is None or not isinstance(outcome, EpisodeResult):
        return None
    if outcome.progression >= plan.threshold:
        return None
    return below_threshold_text(_episode_report(session, item, outcome))


def _is_expected(session: EpisodeSession, item: pytest.Item) -> bool:
    plan = session.plan_of(item)
    is_aggregate = plan is not None and plan.gate == "aggregate"
    return is_aggregate and not session.config.option.runxfail


def failure_of(session: EpisodeSession, item: pytest.Item, failure: EpisodeFailure) -> str:
    """Tells why an item has no score."""
    return failure_text(_episode_report(session, item, failure))


def set_times(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Makes a phase take the time that its episode took, not the time that the item waited."""
    outcome = item.stash.get(OUTCOME, None)
    if call.when == "setup":
        call.duration = max(0.0, call.duration - item.stash.get(WAITED_S, 0.0))
    if outcome is not None and call.when == _phase(outcome):
        call.start = outcome.started_at_s
        call.stop = outcome.started_at_s + outcome.duration_s
        call.duration = outcome.duration_s


def _phase(outcome: EpisodeOutcome) -> str:
    return "setup" if isinstance(outcome, EpisodeFailure) else "call"


def attach_episode(session: EpisodeSession, item: pytest.Item, report: pytest.TestReport) -> None:
    """Lets a report carry its episode, without the trajectory."""
    plan, outcome = session.plan_of(item), item.stash.get(OUTCOME, None)
    if plan is None or outcome is None or report.when != _phase(outcome):
        return
    carried = {
        "record": outcome.without_steps().to_record(),
        "threshold": plan.threshold,
        "replay": replay_command(session.config, item),
    }
    setattr(report, ATTRIBUTE, carried)
    _shorten_reason(report)


def _shorten_reason(report: pytest.TestReport) -> None:
    # pytest's one-line summary shortens a reason by itself, except where CI is set.
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is not None and report.failed:
        crash.message = crash.message.partition("\n")[0]


def describe_episode(item: pytest.Item, plan: ItemPlan, outcome: EpisodeOutcome) -> None:
    """Gives an item the properties that JUnit files carry."""
    properties: dict[str, object] = {
        "babyai_outcome": outcome_kind(outcome, plan.threshold).value,
        "babyai_steps": outcome.num_steps,
        "babyai_input_tokens": outcome.usage.input_tokens,
        "babyai_output_tokens": outcome.usage.output_tokens,
    }
    if isinstance(outcome, EpisodeResult):
        properties["babyai_return"] = outcome.episode_return
    known = {name: value for name, value in properties.items() if value is not None}
    item.user_properties.extend(known.items())


def attach_finished(session: EpisodeSession, report: pytest.TestReport) -> None:
    """Lets a worker's report carry the episodes that have finished since the last one."""
    finished = carry_finished(session.run.journal) if session.run else []
    if finished:
        setattr(report, FINISHED, finished)


def hand_over_finished(session: EpisodeSession) -> None:
    """Gives the controller what a worker's last report could not carry.

    That is the episodes that finished after it, and the decisions on concurrency.
    """
    output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if session.run is None or output is None:
        return
    if finished := carry_finished(session.run.journal):
        output[FINISHED] = finished
    if history := session.run.controls.history():
        output[CONCURRENCY] = history


def episode_of(report: pytest.TestReport) -> EpisodeReport | None:
    """Reads back what `attach_episode` put on a report."""
    carried: dict[str, Any] | None = getattr(report, ATTRIBUTE, None)
    if carried is None:
        return None
    outcome = outcome_from_record(carried["record"])
    return EpisodeReport(report.nodeid, outcome, carried["threshold"], carried["replay"])


def _episode_report(
    session: EpisodeSession, item: pytest.Item, outcome: EpisodeOutcome
) -> EpisodeReport:
    plan = session.plan_of(item)
    threshold = plan.threshold if plan else 1.0
    return EpisodeReport(item.nodeid, outcome, threshold, replay_command(session.config, item))


def replay_command(config: pytest.Config, item: pytest.Item) -> str:
    """Returns the command line that plays an item's episode again."""
    arguments = [str(argument) for argument in config.invocation_params.args]
    return recorded.replay_command(item.nodeid, arguments)


def resume_command(config: pytest.Config, run_id: str) -> str:
    """Returns the command line that goes on with an unfinished run."""
    arguments = [str(argument) for argument in config.invocation_params.args]
    kept = [argument for argument in arguments if not argument.startswith("--babyai-resume")]
    return shlex.join(["pytest", *kept, f"--babyai-resume={run_id}"])
