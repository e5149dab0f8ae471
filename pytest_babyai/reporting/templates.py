"""The templates of reports, rendered by minijinja."""

from __future__ import annotations

import functools
import importlib.resources
import re
from typing import Any, Final

from pytest_babyai.reporting.episodes import one_line

_CODE_LIMIT: Final = 160
_TEXT_LIMIT: Final = 1000
_MARKUP: Final = re.compile(r"([\\`*_<>\[\]|~&])")
_REFERENCE: Final = re.compile(r"(@|#(?=\d))")
_BREAK: Final = "\u200b"


def render(name: str, context: dict[str, Any]) -> str:
    """Renders a template of this package.

    Args:
        name: Of the file in ``template/``; values in one that ends in ``.html`` are escaped.
        context: Plain types only.
    """
    text: str = _environment().render_template(name, **encodable(context))
    return text


def resource(name: str) -> str:
    """Returns a file of ``template/``."""
    directory = importlib.resources.files("pytest_babyai.reporting") / "template"
    return (directory / name).read_text(encoding="utf-8")


def encodable(value: Any) -> Any:
    """Returns plain types without lone surrogates, which JSON allows a model to write."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {name: encodable(part) for name, part in value.items()}
    return [encodable(part) for part in value] if isinstance(value, (list, tuple)) else value


def markdown_code(text: str) -> str:
    """Returns a text as a code span, in which Markdown, HTML and mentions mean nothing."""
    line = one_line(text, _CODE_LIMIT).replace("`", "'").replace("|", "\\|").strip()
    return f"`{line}`" if line else "–"  # noqa: RUF001 - an en dash is meant


def markdown_text(text: str) -> str:
    """Returns a text in which nothing is markup, a mention of somebody or of an issue."""
    escaped = _MARKUP.sub(r"\\\1", one_line(text, _TEXT_LIMIT))
    return _REFERENCE.sub(rf"\1{_BREAK}", escaped)


@functools.cache
def _environment() -> Any:
    import minijinja  # a run without reports does not pay for it

    environment = minijinja.Environment(loader=resource, undefined_behavior="strict")
    environment.trim_blocks = True
    environment.lstrip_blocks = True
    environment.keep_trailing_newline = True
    environment.add_filter("code", markdown_code)
    environment.add_filter("md", markdown_text)
    return environment
