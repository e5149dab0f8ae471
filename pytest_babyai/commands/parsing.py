"""Reads the command line; what is wrong with it is one line, as everywhere."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, NoReturn

from pytest_babyai.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class CommandParser(argparse.ArgumentParser):
    """Raises `UsageError` where argparse would print its usage and exit.

    Raises:
        UsageError: An argument is wrong, missing or unknown.
    """

    def error(self, message: str) -> NoReturn:
        """Refuses the command line."""
        raise UsageError(f"{message}; {self.prog} --help tells more")

    def parse_known_args(
        self, args: Iterable[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """Reads the arguments; those of a command are read by the command's own parser."""
        chosen, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self._refuse(unknown[0].partition("=")[0])
        return chosen, unknown

    def _refuse(self, argument: str) -> NoReturn:
        if not argument.startswith("-"):
            self.error(f"unexpected argument {argument!r}")
        hint = did_you_mean(argument, self._option_string_actions)
        raise UsageError(f"unknown option {argument}; {hint}")


def check_command(given: Sequence[str], commands: Sequence[str]) -> None:
    """Makes sure that a command line begins with a command, or asks for help.

    Raises:
        UsageError: It does not; the line names the closest command.
    """
    if not given:
        raise UsageError(f"no command; choose from {', '.join(commands)}")
    if given[0] not in {*commands, "-h", "--help"}:
        raise UsageError(f"unknown command {given[0]!r}; {did_you_mean(given[0], commands)}")
