"""Outcomes of episodes, translated into pytest's: fixture, threshold, reports."""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING, Any, Final

import pytest

from pytest_babyai.errors import NotStartedError, UsageError
from pytest_babyai.plugin.options import given_options, local_nodeid, location_options
from pytest_babyai.plugin.output import routed_output
from pytest_babyai.plugin.plan import ITEM_PLAN
from pytest_babyai.records import (
    Episode,
    EpisodeFailure,
    EpisodeOutcome,
    EpisodeResult,
    outcome_from_record,
    outcome_kind,
)
from pytest_babyai.reporting.episodes import below_threshold_text, failure_text
from pytest_babyai.reporting.results import EpisodeReport

if TYPE_CHECKING:
    from collections.abc import Generator

    from pytest_babyai.plugin.plan import ItemPlan
    from pytest_babyai.plugin.state import State

ATTRIBUTE: Final = "babyai_episode"
"""Attribute of a test report that carries its episode as JSON types."""

_OUTCOME: Final = pytest.StashKey[EpisodeOutcome]()
_WAITED_S: Final = pytest.StashKey[float]()

_NOT_FOR_REPLAY: Final = {
    "charts", "compare", "csv", "fail", "html", "md", "parquet", "plan", "resume", "save", "until",
}  # fmt: skip
"""Settings that say nothing about how an episode is played, or would do more than play it."""


def fixture_value(state: State, item: pytest.Item) -> Episode:
    """Waits for the episode of an item."""
    plan = item.stash.get(ITEM_PLAN, None)
    if plan is None:
        pytest.fail("babyai_episode needs a test with @pytest.mark.babyai", pytrace=False)
    if item.config.getoption("setuponly", None) or item.config.getoption("setupplan", None):
        pytest.skip("not played: --setup-only and --setup-plan play nothing")
    started_s = time.perf_counter()
    try:
        outcome = _outcome(state, item, plan)
    except UsageError as error:
        pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)
    except NotStartedError as error:
        pytest.skip(f"not played: {error}")
    finally:
        item.stash[_WAITED_S] = time.perf_counter() - started_s
    item.stash[_OUTCOME] = outcome
    _describe(item, plan, outcome)
    if isinstance(outcome, EpisodeFailure):
        pytest.fail(failure_text(_report(item, plan, outcome)), pytrace=False)
    return Episode(outcome, plan.threshold)


def _outcome(state: State, item: pytest.Item, plan: ItemPlan) -> EpisodeOutcome:
    if not plan.is_asked:  # `getfixturevalue` asks for it in the test's body
        state.agenda.nodeids.setdefault(plan.episode, item.nodeid)
    player = state.open_player()
    if isinstance(item.stash.get(_OUTCOME, None), EpisodeFailure):
        player.scheduler.play_again(plan.episode)  # a plugin runs the failed item once more
    outcome = player.outcome(plan.episode)
    state.output.release(plan.episode)
    return outcome


class OutcomeHooks:
    """Turns outcomes into failures, expected failures and reports."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._failed_checks: set[str] = set()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Keeps the output of other episodes off this item, and drops its trajectory in the end."""
        with routed_output():
            result = yield
        self._failed_checks.discard(item.nodeid)
        self._release(item)
        return result

    def _release(self, item: pytest.Item) -> None:
        plan, outcome = item.stash.get(ITEM_PLAN, None), item.stash.get(_OUTCOME, None)
        if plan is None or outcome is None or self._state.player is None:
            return
        item.stash[_OUTCOME] = outcome.without_steps()
        if self._state.agenda.is_last(plan.episode):
            self._state.player.forget_steps(plan.episode, outcome)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_setup(self) -> Generator[None, None, None]:
        """Keeps the output of other episodes off this item."""
        with routed_output():
            yield

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_teardown(self) -> Generator[None, None, None]:
        """Keeps the output of other episodes off this item."""
        with routed_output():
            yield

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, None, None]:
        """Fails a test whose episode stayed below its threshold, where its gate is ``episodes``."""
        try:
            with routed_output():
                yield
        except (AssertionError, pytest.fail.Exception) as error:
            if (text := self._failure_text(item)) is None:
                raise
            text = f"{text}\n{type(error).__name__}: {error}"
            # The traceback ends where the test failed, for --pdb.
            failure = pytest.fail.Exception(text, pytrace=False)
            raise failure.with_traceback(error.__traceback__) from None
        if (text := self._failure_text(item)) is not None:
            raise pytest.fail.Exception(text, pytrace=False)

    def _failure_text(self, item: pytest.Item) -> str | None:
        return None if self._is_expected(item) else self._below_threshold_text(item)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Gives a report its episode, time and outcome before other plugins see it."""
        _set_times(item, call)
        with routed_output():
            report = yield
        if report.when == "call" and report.passed and item.nodeid not in self._failed_checks:
            self._expect_failure(item, report)
        self._attach(item, report)
        return report

    @pytest.hookimpl(wrapper=True, tryfirst=True, specname="pytest_runtest_makereport")
    def pytest_settle_report(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Makes an expected failure a real one, where a plugin's soft check has failed the test."""
        report = yield
        if report.failed and hasattr(report, "wasxfail"):
            del report.wasxfail
        return report

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(
        self, report: pytest.TestReport
    ) -> Generator[None, object, object]:
        """Takes note of failed subtests, and of the episode that a report carries."""
        if report.failed and report.when == "call":
            self._failed_checks.add(report.nodeid)
        if (carried := getattr(report, ATTRIBUTE, None)) is not None:
            self._state.tally.add(carried["name"], episode_report(report.nodeid, carried))
        with routed_output():
            return (yield)

    def _expect_failure(self, item: pytest.Item, report: pytest.TestReport) -> None:
        """Makes the report of an episode below its threshold an expected failure, where it is one.

        Raising ``xfail`` in the test would do the same, after milliseconds of looking at the stack.
        """
        text = self._below_threshold_text(item) if self._is_expected(item) else None
        if text is not None:
            report.outcome = "skipped"
            report.wasxfail = text.partition("\n")[0]

    def _is_expected(self, item: pytest.Item) -> bool:
        plan = item.stash.get(ITEM_PLAN, None)
        is_aggregate = plan is not None and plan.gate == "aggregate"
        return is_aggregate and not item.config.getoption("runxfail", default=False)

    def _below_threshold_text(self, item: pytest.Item) -> str | None:
        plan, outcome = item.stash.get(ITEM_PLAN, None), item.stash.get(_OUTCOME, None)
        if plan is None or not isinstance(outcome, EpisodeResult):
            return None
        if outcome.progression >= plan.threshold:
            return None
        return below_threshold_text(_report(item, plan, outcome))

    def _attach(self, item: pytest.Item, report: pytest.TestReport) -> None:
        plan, outcome = item.stash.get(ITEM_PLAN, None), item.stash.get(_OUTCOME, None)
        if plan is None or outcome is None or report.when != _phase(outcome):
            return
        carried = {
            "name": repr(plan.episode),
            "record": outcome.without_steps().to_record(),
            "threshold": plan.threshold,
            "replay": replay_command(item),
        }
        setattr(report, ATTRIBUTE, carried)
        # pytest's one-line summary shortens a reason by itself, except where CI is set.
        crash = getattr(report.longrepr, "reprcrash", None)
        if crash is not None and report.failed:
            crash.message = crash.message.partition("\n")[0]


def _set_times(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Makes a phase take the time that its episode took, not the time that the item waited."""
    outcome = item.stash.get(_OUTCOME, None)
    if call.when == "setup":
        call.duration = max(0.0, call.duration - item.stash.get(_WAITED_S, 0.0))
    if outcome is not None and call.when == _phase(outcome):
        call.start = outcome.started_at_s
        call.stop = outcome.started_at_s + outcome.duration_s
        call.duration = outcome.duration_s


def _phase(outcome: EpisodeOutcome) -> str:
    return "setup" if isinstance(outcome, EpisodeFailure) else "call"


def _describe(item: pytest.Item, plan: ItemPlan, outcome: EpisodeOutcome) -> None:
    """Gives an item the properties that JUnit files carry."""
    properties: dict[str, object] = {
        "babyai_outcome": outcome_kind(outcome, plan.threshold).value,
        "babyai_steps": outcome.num_steps,
        "babyai_input_tokens": outcome.usage.input_tokens,
        "babyai_output_tokens": outcome.usage.output_tokens,
    }
    if isinstance(outcome, EpisodeResult):
        properties["babyai_return"] = outcome.episode_return
    # A plugin that runs an item again finds those of its last run there.
    others = [each for each in item.user_properties if each[0] not in properties]
    known = [(name, value) for name, value in properties.items() if value is not None]
    item.user_properties[:] = [*others, *known]


def episode_report(nodeid: str, carried: dict[str, Any]) -> EpisodeReport:
    """Reads back what a test report carries."""
    outcome = outcome_from_record(carried["record"])
    return EpisodeReport(nodeid, outcome, carried["threshold"], carried["replay"])


def _report(item: pytest.Item, plan: ItemPlan, outcome: EpisodeOutcome) -> EpisodeReport:
    return EpisodeReport(item.nodeid, outcome, plan.threshold, replay_command(item))


def replay_command(item: pytest.Item) -> str:
    """Returns the command line that plays an item's episode again, from the same directory."""
    config = item.config
    options = given_options(config, without=_NOT_FOR_REPLAY)
    nodeid = local_nodeid(config, item.nodeid)
    return shlex.join(["pytest", nodeid, *location_options(config), *options])


def resume_command(config: pytest.Config, run_id: str) -> str:
    """Returns the command line that goes on with an unfinished run."""
    arguments = [str(argument) for argument in config.invocation_params.args]
    kept = [argument for argument in arguments if not argument.startswith("--babyai-resume")]
    return shlex.join(["pytest", *kept, f"--babyai-resume={run_id}"])
