"""What a model was sent: the messages of a step, rendered by the templates of its run.

TensorZero renders templates with minijinja, and so does this. The arguments are those that
`pytest_babyai.gateway` sends, made again of the trajectory.
"""

from __future__ import annotations

import contextlib
import functools
import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pytest_babyai.errors import SettingsError
from pytest_babyai.reporting.changes import template_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pytest_babyai.gateway.inference import InferenceRequest
    from pytest_babyai.records import EpisodeOutcome
    from pytest_babyai.reporting.results import EpisodeReport

ROLES: Final = ("system", "user")


class Message(NamedTuple):
    """A message as sent.

    Attributes:
        role: ``system`` or ``user``.
        text: Its text.
    """

    role: str
    text: str


class PromptRenderer:
    """Renders what variants were sent.

    Args:
        definitions: Content by part and variant, as the manifest of the run has it.
        history_length: Past steps that every request carried.
    """

    def __init__(
        self, definitions: Mapping[str, Mapping[str, Any]], history_length: int = 8
    ) -> None:
        self._definitions = definitions
        self._history_length = history_length
        self._templates: dict[str, Callable[[dict[str, Any]], tuple[Message, ...]] | None] = {}

    def messages(
        self, report: EpisodeReport, mission: str | None = None
    ) -> Iterator[tuple[Message, ...]]:
        """Yields the messages of every step; none for a variant whose templates are not known.

        Args:
            report: The episode.
            mission: That of its level, which the record of an episode without a score lacks.
        """
        outcome, length = report.outcome, report.history_length
        mission = getattr(outcome, "mission", mission)
        render = self._renderer(outcome.spec.variant)
        if render is None or mission is None:
            return
        length = self._history_length if length is None else length
        with contextlib.suppress(_render_error()):  # a template that needs other arguments
            for arguments in arguments_of(outcome, mission, length):
                yield render(arguments)

    def _renderer(self, variant: str) -> Callable[[dict[str, Any]], tuple[Message, ...]] | None:
        if variant not in self._templates:
            self._templates[variant] = _compiled(self._definitions.get(variant, {}))
        return self._templates[variant]


def request_renderer(
    definition: Mapping[str, Any],
) -> Callable[[InferenceRequest], tuple[Message, ...]]:
    """Returns what renders the messages of a request.

    Args:
        definition: Content by part of the variant.

    Raises:
        SettingsError: Its templates are not such as can be rendered here.
    """
    render = _compiled(definition)
    if render is None:
        raise SettingsError("the variant's templates can be rendered by TensorZero alone")
    return lambda request: render(_sent_arguments(request))


def arguments_of(
    outcome: EpisodeOutcome, mission: str, history_length: int
) -> Iterator[dict[str, Any]]:
    """Yields the arguments of the user message of every step, as the gateway has sent them."""
    from pytest_babyai.gateway.arguments import StepHistory
    from pytest_babyai.gateway.inference import InferenceRequest

    history = StepHistory(history_length)
    for step in outcome.steps:
        request = InferenceRequest(
            variant=outcome.spec.variant,
            episode_id=outcome.episode_id,
            mission=mission,
            observation=step.observation,
            history=history.steps(),
        )
        yield _sent_arguments(request)
        history.add(step)


def stored_messages(system: str, messages: str) -> tuple[Message, ...]:
    """Returns what a store has of a request: its system message, and the others as JSON."""
    sent = [Message("system", system)] if system else []
    for message in json.loads(messages):
        content = message["content"]
        parts = [{"text": content}] if isinstance(content, str) else content
        texts = [part.get("text") or json.dumps(part) for part in parts]
        sent.append(Message(message["role"], "\n".join(texts)))
    return tuple(sent)


def _sent_arguments(request: InferenceRequest) -> dict[str, Any]:
    from pytest_babyai.gateway.inference import NO_CACHE
    from pytest_babyai.gateway.wire import inference_arguments

    sent = inference_arguments(request, NO_CACHE)["input"]["messages"][0]["content"][0]
    arguments: dict[str, Any] = sent["arguments"]
    return arguments


def _compiled(
    definition: Mapping[str, Any],
) -> Callable[[dict[str, Any]], tuple[Message, ...]] | None:
    import minijinja

    texts: dict[str, str] = {}
    named: dict[str, str] = {}
    for role in ROLES:
        try:
            found = template_texts(definition.get(f"template {role}"))
        except ValueError:
            continue
        texts |= {name: text for name, text in found.items() if name}
        named[role] = found[""]
    if "user" not in named:
        return None
    environment = minijinja.Environment(
        loader=lambda name: named.get(name.removeprefix("\0")) or texts.get(name),
        undefined_behavior="strict",
        pycompat=False,  # methods of Python's strings are unknown to TensorZero
        auto_escape_callback=lambda _: False,
    )

    @functools.cache
    def system() -> str:
        # Requests carry no arguments for it, so that its text is the same for all of them.
        text: str = environment.render_template("\0system")
        return text

    def render(arguments: dict[str, Any]) -> tuple[Message, ...]:
        user = Message("user", environment.render_template("\0user", **arguments))
        return (Message("system", system()), user) if "system" in named else (user,)

    return render


def _render_error() -> type[Exception]:
    import minijinja

    error: type[Exception] = minijinja.TemplateError
    return error
