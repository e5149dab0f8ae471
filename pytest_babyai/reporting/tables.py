"""Tables that fit: turned or split where a row would wrap."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_GAP = 2
_HEADER_PADDING = 2


def table_lines(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    width: int,
    ellipsis: str = "…",
) -> Iterator[str]:
    """Yields the lines of a table, none wider than ``width`` if its cells allow it.

    The first column names the rows. A table that is too wide is turned, rows becoming columns; if
    that is too wide still, names are broken into lines, and then the columns split into blocks.

    Args:
        headers: Names of the columns.
        rows: Cells by row, as many as there are headers.
        width: Columns of the terminal.
        ellipsis: Ends a name that is shortened because it fits no block.
    """
    turned = [list(cells) for cells in zip(headers, *rows, strict=True)]
    narrow = [_broken_names(turned, width, ellipsis), *turned[1:]]
    for cells in ([headers, *rows], turned, narrow):
        lines = _tabulated(cells)
        if _fits(lines, width):
            yield from lines
            return
    for number, block in enumerate(_blocks(narrow, width)):
        if number:
            yield ""
        yield from block


def shortened(text: str, limit: int, ellipsis: str = "…") -> str:
    """Cuts a text to ``limit`` characters, its end replaced by the ellipsis."""
    if len(text) <= limit:
        return text
    return text[: max(1, limit - len(ellipsis))] + ellipsis


def _broken_names(cells: list[list[str]], width: int, ellipsis: str) -> list[str]:
    room = width - max(len(row[0]) for row in cells) - _GAP - _HEADER_PADDING
    columns = zip(*cells, strict=True)
    label, *_ = next(columns)
    names = [label]
    for name, *values in columns:
        lines = _packed(name, max(map(len, values), default=0))
        names.append("\n".join(shortened(line, room, ellipsis) for line in lines))
    return names


def _packed(name: str, limit: int) -> list[str]:
    lines = [""]
    for part in re.findall(r"[^_-]+[_-]*|[_-]+", name):
        if lines[-1] and len(lines[-1]) + len(part) > limit:
            lines.append("")
        lines[-1] += part
    return lines


def _blocks(cells: list[list[str]], width: int) -> Iterator[list[str]]:
    start, num_columns = 1, len(cells[0])
    while start < num_columns:
        stop = num_columns
        lines = _columns(cells, start, stop)
        while not _fits(lines, width) and stop > start + 1:
            stop -= 1
            lines = _columns(cells, start, stop)
        yield lines
        start = stop


def _columns(cells: list[list[str]], start: int, stop: int) -> list[str]:
    return _tabulated([[row[0], *row[start:stop]] for row in cells])


def _fits(lines: list[str], width: int) -> bool:
    return all(len(line) <= width for line in lines)


def _tabulated(cells: Sequence[Sequence[str]]) -> list[str]:
    from tabulate import tabulate  # a run without episodes does not pay for it

    table = tabulate(
        cells[1:],
        headers=cells[0],
        colalign=("left", *("right" for _ in cells[0][1:])),
        disable_numparse=True,
    )
    return [line.rstrip() for line in table.splitlines()]
