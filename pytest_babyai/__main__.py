"""``python -m pytest_babyai COMMAND``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pytest_babyai.commands import parse_command
from pytest_babyai.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

USAGE_ERROR = 4
"""Exit code of a wrong argument; pytest's own."""
INTERRUPTED = 130
"""Exit code after Ctrl-C; that of shells."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Returns:
        The exit code: the command's own, or 4 with one line on standard error.
    """
    try:
        chosen = parse_command(arguments)
    except UsageError as error:
        print(f"pytest_babyai: {error}", file=sys.stderr)
        return USAGE_ERROR
    lines = iter(chosen.lines(chosen))
    try:
        while True:
            print(next(lines), flush=True)
    except StopIteration as end:
        return end.value or 0
    except UsageError as error:
        print(f"pytest_babyai {chosen.command}: {error}", file=sys.stderr)
        return USAGE_ERROR
    except KeyboardInterrupt:
        print(f"pytest_babyai {chosen.command}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough.
        sys.stderr.close()
        return 0


if __name__ == "__main__":
    sys.exit(main())
