"""Prompts from recorded arguments, as TensorZero renders them: the same engine, set up alike."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_babyai.errors import ConfigurationError
from pytest_babyai.finetuning.chats import Chat
from pytest_babyai.finetuning.failures import DatasetError
from pytest_babyai.gateway.configuration import ACT_FUNCTION
from pytest_babyai.gateway.inference import NO_CACHE
from pytest_babyai.gateway.toml_files import read_text, tables
from pytest_babyai.gateway.wire import inference_arguments

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_babyai.gateway.configuration import GatewayConfiguration
    from pytest_babyai.gateway.inference import InferenceRequest

_RENDERED_TYPE: Final = "chat_completion"
_OLD_KEYS: Final = frozenset({"input_wrappers", "system_template", "user_template"})
"""Older ways to name templates; mixed with ``templates`` they mean what TensorZero decides."""


class ChatRenderer:
    """Renders a variant's messages from the arguments that rollouts send.

    Args:
        configuration: The configuration with the templates.
        variant: Whose templates to use.

    Raises:
        ConfigurationError: A template is missing or no template.
        DatasetError: The variant is not of a kind that can be rendered here.
    """

    def __init__(self, configuration: GatewayConfiguration, variant: str) -> None:
        self._variant = variant
        self._function = configuration.function
        self._paths = _template_paths(configuration, variant)
        self._environment = _environment(configuration, self._paths)

    def chat(self, request: InferenceRequest, answer: str) -> Chat:
        """Returns the chat of a request and its answer.

        Raises:
            ConfigurationError: A template cannot be rendered with the arguments.
        """
        told = inference_arguments(request, NO_CACHE, self._function)
        message = told["input"]["messages"][0]
        arguments = message["content"][0]["arguments"]
        return Chat(self._system, self._render("user", arguments), answer)

    @functools.cached_property
    def _system(self) -> str | None:
        # Rollouts send no system arguments, so that its text is the same for all requests.
        return self._render("system", {}) if "system" in self._paths else None

    def _render(self, name: str, arguments: dict[str, Any]) -> str:
        import minijinja

        path = self._paths[name]
        try:
            text: str = self._environment.render_template(path, **arguments)
        except (minijinja.TemplateError, ConfigurationError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ConfigurationError(
                f"{path}: variant {self._variant!r} cannot be rendered: {reason}"
            ) from None
        return text


def _template_paths(configuration: GatewayConfiguration, variant: str) -> dict[str, str]:
    """Returns the files of a variant's templates, under ``system`` and ``user``."""
    table = tables(configuration.tree, "functions", ACT_FUNCTION, "variants", variant)
    if table.get("type") != _RENDERED_TYPE or _OLD_KEYS & table.keys():
        raise DatasetError(
            f"variant {variant!r} is no plain {_RENDERED_TYPE} variant, and can be rendered by "
            "TensorZero alone; take its training data from the store"
        )
    paths = {name: tables(table, "templates", name).get("path") for name in ("system", "user")}
    if not paths["user"]:
        raise DatasetError(
            f"variant {variant!r} has no templates.user.path to render prompts with; take its "
            "training data from the store"
        )
    return {name: str(path) for name, path in paths.items() if path}


def _environment(configuration: GatewayConfiguration, paths: dict[str, str]) -> Any:
    import minijinja

    access = tables(configuration.tree, "gateway", "template_filesystem_access")
    return minijinja.Environment(
        loader=_loader(frozenset(paths.values()), access.get("base_path")),
        undefined_behavior="strict",
        pycompat=False,  # methods of Python's strings are unknown to TensorZero
    )


def _loader(named: frozenset[str], base_path: str | None) -> Callable[[str], str | None]:
    """Returns what reads the templates that the configuration names, and what these include."""

    def load(name: str) -> str | None:
        if name in named:
            return read_text(Path(name))
        if base_path is None:
            return None
        path = Path(base_path) / name
        return read_text(path) if path.is_file() else None

    return load
