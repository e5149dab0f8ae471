from __future__ import annotations

from typing import Any

from pytest_babyai.gateway.inference import Inference, InferenceRequest
from pytest_babyai.playing.rollout import RolloutOptions, run_episode
from pytest_babyai.records import (
    EpisodeFailure,
    EpisodeOutcome,
    EpisodeResult,
    EpisodeSpec,
    Usage,
)
from pytest_babyai.retries import Clock

SPEC = EpisodeSpec("baseline", "goto", 200)
ACTIONS = ["turn left", "turn right", "go forward", "pick up", "drop", "toggle"]


class FakeEnvironment:
    """Is solved by ``solution`` in place of the n-th step; each observation is its step number."""

    env_name = "babyai"
    language_action_space = actions = ACTIONS
    default_action = "go forward"

    def __init__(self, task: str, max_steps: int = 4, solved_at: int | None = None) -> None:
        self.task_name = task
        self.max_steps = max_steps
        self.failed_candidates: list[str] = []
        self.executed: list[str] = []
        self.closed = False
        self.seed: int | None = None
        self._solved_at = solved_at

    def _observation(self) -> Any:
        text = {"long_term_context": f"view {len(self.executed)}", "short_term_context": ""}
        return {"mission": "go to the ball", "text": text}

    @property
    def _solved(self) -> bool:
        return len(self.executed) == self._solved_at

    def reset(self, *, seed: int | None = None) -> tuple[Any, dict[str, Any]]:
        self.seed = seed
        return self._observation(), {}

    def step(self, action: str) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert action in ACTIONS
        self.executed.append(action)
        late = len(self.executed) >= self.max_steps
        reward = 0.7 if self._solved else 0.0
        return self._observation(), reward, self._solved, late and not self._solved, {}

    def check_action_validity(self, candidate: str) -> str:
        if candidate in ACTIONS:
            return candidate
        self.failed_candidates.append(candidate)
        return self.default_action

    def get_stats(self) -> dict[str, Any]:
        return {"mission": "go to the ball", "progression": 1.0 if self._solved else 0.0}

    def close(self) -> None:
        self.closed = True

    def get_text_action(self, action: int) -> str:
        return ACTIONS[action]

    def get_instruction_prompt(self, instructions: str | None = None) -> str:
        return str(instructions)

    def snapshot(self) -> dict[str, Any]:
        return {}

    def layout_fingerprint(self) -> str:
        return ""

    def render(self) -> Any:
        return None


class FakeClient:
    """Gives the listed answers in turn, the last one for ever; raises those that are errors."""

    def __init__(self, *answers: Inference | Exception) -> None:
        self.requests: list[InferenceRequest] = []
        self._answers = answers

    async def infer(self, request: InferenceRequest, /) -> Inference:
        self.requests.append(request)
        answer = self._answers[min(len(self.requests), len(self._answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer


class FakeClock:
    """Time that passes by sleeping alone; jitter always draws the longest wait."""

    def __init__(self) -> None:
        self.time_s = 1000.0
        self.waits_s: list[float] = []

    async def sleep(self, wait_s: float) -> None:
        self.waits_s.append(wait_s)
        self.time_s += wait_s

    def clock(self) -> Clock:
        return Clock(self.now_s, self.now_s, self.sleep, lambda: 1.0)

    def now_s(self) -> float:
        return self.time_s


def acting(action: Any, usage: Usage | None = None, **more: Any) -> Inference:
    return Inference(
        "id", f"raw {action}", {"action": action, **more}, usage or Usage(5, 2, 0.5), 1
    )


def unparsable(raw: str) -> Inference:
    return Inference("id", raw, None, Usage(5, 2, 0.5), 1)


async def play(
    client: FakeClient,
    environment: FakeEnvironment | None = None,
    clock: FakeClock | None = None,
    spec: EpisodeSpec = SPEC,
    **options: Any,
) -> EpisodeOutcome:
    return await run_episode(
        spec,
        client=client,
        make_environment=lambda task: environment or FakeEnvironment(task),
        options=RolloutOptions(**options),
        clock=(clock or FakeClock()).clock(),
    )


async def result_of(*arguments: Any, **options: Any) -> EpisodeResult:
    outcome = await play(*arguments, **options)
    assert isinstance(outcome, EpisodeResult)
    return outcome


async def failure_of(*arguments: Any, **options: Any) -> EpisodeFailure:
    outcome = await play(*arguments, **options)
    assert isinstance(outcome, EpisodeFailure)
    return outcome
