"""What a function is told: which arguments its schemas admit, in which shape, in which message.

The same when played and when learned from.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_babyai.errors import ConfigurationError, did_you_mean
from pytest_babyai.gateway import toml_files
from pytest_babyai.gateway.inference import NO_ANSWER, PastStep
from pytest_babyai.gateway.models import candidates_of
from pytest_babyai.records import AnswerStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_babyai.gateway.inference import InferenceRequest
    from pytest_babyai.gateway.toml_files import Tree
    from pytest_babyai.records import Step

ARGUMENTS: Final = ("mission", "observation", "history", "step", "max_steps", "last_answer")
"""The arguments that a schema may ask for; README explains each."""

_OF_SYSTEM = ("mission", "max_steps")
"""What a system message is told where no schema lists it: what stays the same in an episode."""

HISTORY_KEYS: Final = ("observation", "action", "thinking")
"""Entries of each step of the history."""

LAST_ANSWERS: Final = {
    AnswerStatus.VALID: "valid",
    AnswerStatus.UNKNOWN_ACTION: "unknown action",
    AnswerStatus.UNPARSABLE: "unparsable",
    AnswerStatus.CUT_OFF: "cut off",
    AnswerStatus.FALLBACK: NO_ANSWER,
}

_SYSTEM, _USER, _ASSISTANT = "system", "user", "assistant"
_KINDS = ("json", "chat")
_COMBINED = ("anyOf", "oneOf", "allOf")
_TYPE_OF = {str: "string", list: "array", int: "integer"}


class StepHistory:
    """The last steps of an episode, as requests carry them.

    Args:
        length: How many steps a request carries.

    Attributes:
        num_steps: Steps that were added, dropped ones included.
        last_answer: What became of the last answer, one of `LAST_ANSWERS`.
    """

    def __init__(self, length: int) -> None:
        self.num_steps = 0
        self.last_answer = NO_ANSWER
        self._steps: deque[PastStep] = deque(maxlen=length)

    def add(self, step: Step) -> None:
        """Adds the step that was played last."""
        self._steps.append(PastStep(step.observation, step.action, step.thinking or ""))
        self.num_steps += 1
        self.last_answer = LAST_ANSWERS[step.status]

    def steps(self) -> tuple[PastStep, ...]:
        """Returns the steps, oldest first."""
        return tuple(self._steps)


@dataclass(frozen=True)
class Arguments:
    """The arguments of one message.

    Attributes:
        types: JSON types that the schema admits, by name of the argument; none where it does not
            say.
        history_item: Schema of an entry of the history.
    """

    types: Mapping[str, frozenset[str]]
    history_item: Mapping[str, Any] = field(default_factory=dict)

    def of(self, request: InferenceRequest) -> dict[str, Any]:
        """Returns the arguments of a request."""
        return {name: self._value(name, request) for name in self.types}

    def _value(self, name: str, request: InferenceRequest) -> Any:
        value = self._history(request) if name == "history" else getattr(request, name)
        types = self.types[name]
        if not types or _TYPE_OF[type(value)] in types or "number" in types:
            return value
        return str(value) if "string" in types else value

    def _history(self, request: InferenceRequest) -> Any:
        past = [PastStep(*step) for step in request.history]
        types = self.types["history"]
        if "string" in types and "array" not in types:
            return "\n".join(_as_text(step) for step in past)
        if _types_of(self.history_item) == {"string"}:
            return [_as_text(step) for step in past]
        return [{key: getattr(step, key) for key in self._history_keys} for step in past]

    @cached_property
    def _history_keys(self) -> tuple[str, ...]:
        return _admitted(self.history_item, HISTORY_KEYS, HISTORY_KEYS)


def _as_text(step: PastStep) -> str:
    """Returns a step as the experiment writes it into a history that is one text."""
    return f"Observation:{step.observation}\n\nYour Response:\n{step.action}\n"


ALL_ARGUMENTS: Final = Arguments(dict.fromkeys(ARGUMENTS, frozenset()))
"""What is sent where there is no schema."""

_ALL_OF_SYSTEM: Final = Arguments(dict.fromkeys(_OF_SYSTEM, frozenset()))


@dataclass(frozen=True)
class VariantInput:
    """Which messages a variant is sent.

    Attributes:
        system: Arguments of the system template; None where it has no use for any.
        has_system_text: Whether the system message is a text with the mission instead.
        user: Arguments of the template of the user's message.
        template: The template's name; None where the message is a text.
    """

    system: Arguments | None = None
    has_system_text: bool = False
    user: Arguments = ALL_ARGUMENTS
    template: str | None = _USER

    def of(self, request: InferenceRequest) -> dict[str, Any]:
        """Returns TensorZero's ``input`` for a request."""
        content: dict[str, Any] = {"type": "text", "text": self._text(request)}
        if self.template is not None:
            arguments = self.user.of(request)
            content = {"type": "template", "name": self.template, "arguments": arguments}
        told: dict[str, Any] = {"messages": [{"role": "user", "content": [content]}]}
        if self.has_system_text:
            told["system"] = request.mission
        elif self.system is not None:
            told["system"] = self.system.of(request)
        return told

    def _text(self, request: InferenceRequest) -> str:
        knows_mission = self.has_system_text or (self.system and "mission" in self.system.types)
        mission = "" if knows_mission else f"Mission: {request.mission}\n\n"
        return f"{mission}Observation:\n{request.observation}"


@dataclass(frozen=True)
class ActFunction:
    """The function that chooses an action: its name, and what its variants are sent.

    Attributes:
        name: Its name.
        inputs: Messages by variant.
        default_input: Messages of a variant that a gateway elsewhere knows and these files do not.
        model_hashes: By variant, a hash of the models that answer it; part of the cache's key.
    """

    name: str = "act"
    inputs: Mapping[str, VariantInput] = field(default_factory=dict)
    default_input: VariantInput = field(default_factory=VariantInput)
    model_hashes: Mapping[str, str] = field(default_factory=dict)

    def input_of(self, request: InferenceRequest) -> dict[str, Any]:
        """Returns TensorZero's ``input`` for a request."""
        return self.inputs.get(request.variant, self.default_input).of(request)


def read_function(tree: Tree, name: str, place: Path) -> ActFunction:
    """Reads what a function asks for and makes sure that it can be played.

    Args:
        tree: The configuration, with absolute paths.
        name: The function.
        place: The file that error lines name.

    Raises:
        ConfigurationError: There is no such function, it is of another type, a schema asks for
            arguments that there are not, or its answers have no action.
    """
    functions = toml_files.tables(tree, "functions")
    if name not in functions:
        hint = f"; {did_you_mean(name, functions)}" if functions else ""
        raise ConfigurationError(f"{place}: no function {name!r}, which the agent calls{hint}")
    function = toml_files.tables(functions, name)
    if function.get("type") not in _KINDS:
        raise ConfigurationError(
            f"{place}: functions.{name}.type is {function.get('type')!r}; "
            "the agent needs a function of type 'json' or 'chat'"
        )
    if function["type"] == "json":
        _check_output(function)
    schemas = {
        role: (Path(table["path"]), _read_schema(Path(table["path"])))
        for role, table in toml_files.tables(function, "schemas").items()
        if isinstance(table, dict) and "path" in table
    }
    arguments = {role: _arguments(role, schema, path) for role, (path, schema) in schemas.items()}
    variants = toml_files.tables(function, "variants")
    return ActFunction(
        name=name,
        inputs={
            variant: _variant_input(variant, _first_candidate(variants, variant), arguments, place)
            for variant in variants
        },
        default_input=VariantInput(
            system=arguments.get(_SYSTEM), user=arguments.get(_USER, ALL_ARGUMENTS)
        ),
    )


def _first_candidate(variants: Tree, name: str) -> Tree:
    """Returns the table whose templates decide what is sent: all candidates are sent the same."""
    seen: set[str] = set()
    table = toml_files.tables(variants, name)
    while (candidates := candidates_of(table)) and candidates[0] not in seen:
        seen.add(candidates[0])
        table = toml_files.tables(variants, candidates[0])
    return table


def _variant_input(
    name: str, table: Tree, arguments: Mapping[str, Arguments], place: Path
) -> VariantInput:
    templates = _templates(table, arguments)
    others = [each for each in templates if each not in {_SYSTEM, _USER, _ASSISTANT}]
    if _USER not in templates and len(others) > 1:
        raise ConfigurationError(
            f"{place}: variant {name!r} has the templates {', '.join(others)} and none called "
            "'user', so that it is not known which of them asks for an action"
        )
    user = _USER if _USER in templates else next(iter(others), None)
    system = arguments.get(_SYSTEM)
    if system is None and templates.get(_SYSTEM) is not None:
        system = _ALL_OF_SYSTEM
    return VariantInput(
        system=system,
        has_system_text=_SYSTEM in templates and templates[_SYSTEM] is None,
        user=arguments.get(user or "", ALL_ARGUMENTS),
        template=user if user and templates[user] is not None else None,
    )


def _templates(table: Tree, arguments: Mapping[str, Arguments]) -> dict[str, str | None]:
    """Returns a variant's templates by name; None for one that wraps a text instead."""
    found: dict[str, str | None] = {}
    for name, entry in toml_files.tables(table, "templates").items():
        found[name] = str(entry.get("path", "")) if isinstance(entry, dict) else ""
    for name in (_SYSTEM, _USER):
        if path := table.get(f"{name}_template"):  # the older syntax, without a schema
            found[name] = None if _wraps_text(Path(str(path)), name) else str(path)
        if name in toml_files.tables(table, "input_wrappers"):
            found[name] = None
    if not found:  # such as a variant that chooses from the answers of others
        found = {name: "" for name in arguments if name != _ASSISTANT}
    return found


def _wraps_text(path: Path, role: str) -> bool:
    return f"{role}_text" in toml_files.read_text(path)


def _arguments(role: str, schema: Mapping[str, Any], path: Path) -> Arguments:
    properties = _properties(schema)
    for name in schema.get("required", ()):
        if name not in ARGUMENTS:
            raise ConfigurationError(
                f"{path}: requires {name!r}, which is no argument of an episode; "
                f"{did_you_mean(str(name), ARGUMENTS)}"
            )
    names = _admitted(schema, ARGUMENTS, _OF_SYSTEM if role == _SYSTEM else ARGUMENTS)
    return Arguments(
        types={name: _types_of(properties.get(name, {})) for name in names},
        history_item=_item_of(properties.get("history", {})),
    )


def _admitted(
    schema: Mapping[str, Any], names: tuple[str, ...], unlisted: tuple[str, ...]
) -> tuple[str, ...]:
    """Returns the names that a schema lists, and of ``unlisted`` those that it admits."""
    properties = _properties(schema)
    may_add = schema.get("additionalProperties", True) is not False
    return tuple(name for name in names if name in properties or (may_add and name in unlisted))


def _properties(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    found = schema.get("properties", {})
    return found if isinstance(found, dict) else {}


def _types_of(schema: Any) -> frozenset[str]:
    if not isinstance(schema, dict):
        return frozenset()
    types = schema.get("type", [])
    found = {types} if isinstance(types, str) else set(types)
    for key in _COMBINED:
        for part in schema.get(key, ()):
            found |= _types_of(part)
    return frozenset(map(str, found))


def _item_of(schema: Any) -> Mapping[str, Any]:
    if not isinstance(schema, dict):
        return {}
    if isinstance(schema.get("items"), dict):
        return dict(schema["items"])
    parts = (_item_of(part) for key in _COMBINED for part in schema.get(key, ()))
    return next(filter(None, parts), {})


def _check_output(function: Tree) -> None:
    if "output_schema" not in function:
        return
    path = Path(function["output_schema"])
    properties = _properties(_read_schema(path))
    if properties and "action" not in properties:
        raise ConfigurationError(
            f"{path}: the answer has no 'action', which is what the agent does; "
            f"{did_you_mean('action', properties)}"
        )


def _read_schema(path: Path) -> dict[str, Any]:
    try:
        schema = json.loads(toml_files.read_text(path))
    except ValueError as error:
        raise ConfigurationError(f"{path}: not valid JSON: {error}") from None
    if not isinstance(schema, dict):
        raise ConfigurationError(f"{path}: a JSON object expected, found {schema!r}")
    return schema
