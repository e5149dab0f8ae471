"""Prompts from the input of inferences, rendered as TensorZero does: by the same engine."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_babyai.errors import ConfigurationError
from pytest_babyai.finetuning.chats import Chat
from pytest_babyai.finetuning.failures import DatasetError
from pytest_babyai.gateway.configuration import ACT_FUNCTION
from pytest_babyai.gateway.toml_files import read_text, tables

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_babyai.gateway.configuration import GatewayConfiguration
    from pytest_babyai.gateway.toml_files import Tree


class ChatRenderer:
    """Renders a variant's messages from the inputs of its inferences.

    Args:
        configuration: The configuration with the templates.
        variant: Whose templates to use.

    Raises:
        ConfigurationError: A template is missing or no template.
        DatasetError: The variant is not of a kind that can be rendered here.
    """

    def __init__(self, configuration: GatewayConfiguration, variant: str) -> None:
        self._variant = variant
        self._paths = _template_paths(configuration, variant)
        self._environment = _environment(configuration, self._paths)
        self._system = functools.lru_cache(maxsize=256)(self._rendered_system)

    def chat(self, told: Mapping[str, Any], answer: str) -> Chat:
        """Returns the chat of an inference.

        Args:
            told: Its input, as TensorZero takes it: ``messages`` and maybe ``system``.
            answer: Raw text of its answer.

        Raises:
            ConfigurationError: A template cannot be rendered with the arguments.
            DatasetError: The input is more than one message of text.
        """
        messages = told["messages"]
        if len(messages) != 1 or len(messages[0]["content"]) != 1:
            raise DatasetError(
                f"variant {self._variant!r}: an inference has more than one message of text, which "
                "is no step of an episode"
            )
        [block] = messages[0]["content"]
        system = told.get("system")
        arguments = tuple(system.items()) if isinstance(system, Mapping) else system
        return Chat(self._system(arguments), self._user(block), answer)

    def _rendered_system(self, told: tuple[tuple[str, Any], ...] | str | None) -> str | None:
        if "system" in self._paths:
            return self._render("system", dict(told) if isinstance(told, tuple) else {})
        return told if isinstance(told, str) else None

    def _user(self, block: Mapping[str, Any]) -> str:
        name, arguments = block.get("name") or "user", block.get("arguments")
        if arguments is None and name not in self._paths:
            return str(block["text"])
        return self._render(name, dict(arguments or {}))

    def _render(self, name: str, arguments: dict[str, Any]) -> str:
        import minijinja

        if name not in self._paths:
            raise DatasetError(
                f"variant {self._variant!r} has no template {name!r} to render arguments with"
            )
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
    """Returns the files of a variant's templates by name, in TensorZero's newer and older words."""
    table: Tree = tables(configuration.tree, "functions", ACT_FUNCTION, "variants", variant)
    if table.get("type") != "chat_completion" or "input_wrappers" in table:
        raise DatasetError(
            f"variant {variant!r} is no plain chat_completion variant: what its model was told "
            "cannot be rendered as one chat"
        )
    older = {role: table.get(f"{role}_template") for role in ("system", "user")}
    newer = {
        name: tables(table, "templates", name).get("path") for name in tables(table, "templates")
    }
    return {name: str(path) for name, path in {**older, **newer}.items() if path}


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
