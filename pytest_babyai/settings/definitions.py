"""How settings are written, read and explained, as the table of `Settings` says."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pytest_babyai.settings.model import Settings

if TYPE_CHECKING:
    from collections.abc import Callable


class SettingDefinition(NamedTuple):
    """How one setting is written, read and explained.

    Attributes:
        name: Field of `Settings`; ``--babyai-<name>``, ``babyai_<name>`` and the YAML key follow.
        parse: Turns a raw value into the field's type; a ValueError says what was expected.
        metavar: Placeholder in the help.
        help: One line for the help and the README.
        marker: Whether ``@pytest.mark.babyai`` accepts it.
        ini_type: How pytest types the ini option: ``string``, ``int``, ``float``, ``args`` or
            ``linelist``.
        bare: What the option means on the command line without a value; None if it needs one.
        repeatable: Whether the option may be given several times, each time with more.
    """

    name: str
    parse: Callable[[Any], Any]
    metavar: str
    help: str
    marker: bool = False
    ini_type: Literal["string", "int", "float", "args", "linelist"] = "string"
    bare: str | None = None
    repeatable: bool = False

    @property
    def expected(self) -> str:
        """What a value has to be, as error lines say it."""
        try:
            self.parse(None)
        except ValueError as error:
            return str(error)
        return "any value"

    @property
    def flag(self) -> str:
        """The command-line option."""
        return "--babyai-" + self.name.replace("_", "-").removesuffix("-s")

    @property
    def ini(self) -> str:
        """The ini option."""
        return f"babyai_{self.name}".removesuffix("_s")

    @property
    def key(self) -> str:
        """The YAML key and marker argument."""
        return self.name.removesuffix("_s")


DEFINITIONS: tuple[SettingDefinition, ...] = tuple(
    SettingDefinition(each.name, **each.metadata) for each in dataclasses.fields(Settings)
)
