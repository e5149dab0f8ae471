"""What the server has to know of a statement: whether it reads, inserts, or must not run."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from pytest_babyai.store.engine import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NAME = r"(?:\w+|`[^`\\]+`|\"[^\"\\]+\")"
_SETTING = r"\w+\s*=\s*(?:[\w.+-]+|'[^'\\]*')"
_INSERT = re.compile(
    rf"\s*(?P<into>INSERT\s+INTO\s+(?:TABLE\s+)?(?!FUNCTION\b){_NAME}(?:\s*\.\s*{_NAME})?"
    rf"\s*(?:\([^()]*\))?)"
    rf"(?:\s*(?P<settings>SETTINGS\s+{_SETTING}(?:\s*,\s*{_SETTING})*))?"
    r"\s+(?:FORMAT\s+(?P<format>\w+)[ \t\f]*;?[ \t\f]*(?:\r?\n|(?=[^\w\s])|\Z)"
    r"|(?P<values>VALUES)\b)".encode(),
    re.IGNORECASE,
)
# Nothing that the engine is to do itself: the server merges INSERTs.
_ASYNC_INSERT = re.compile(r"\b(?:wait_for_)?async_insert\s*=\s*\w+", re.IGNORECASE)
_READS = re.compile(rb"\s*(?:SELECT|WITH|SHOW|DESCRIBE|EXISTS)\b", re.IGNORECASE)
_WRITES = re.compile(rb"\b(?:INSERT|CREATE|ALTER|DROP)\b|;\s*\S", re.IGNORECASE)

_SELECTS = re.compile(r"\s*(?:SELECT|WITH)\b", re.IGNORECASE)
_NOT_STREAMED = re.compile(r"\b(?:INSERT|TOTALS|OUTFILE|EXTREMES)\b", re.IGNORECASE)
_FORMAT_CLAUSE = re.compile(r"\bFORMAT\s+(\w+)\s*(?:\bSETTINGS\b[^;]*)?;?\s*\Z", re.IGNORECASE)
_MAX_CLAUSE_LENGTH: Final = 1000
_STREAMED_FORMATS: Final = frozenset(
    {
        "CSV",
        "JSONCompactEachRow",
        "JSONCompactStringsEachRow",
        "JSONEachRow",
        "JSONLines",
        "JSONStringsEachRow",
        "LineAsString",
        "NDJSON",
        "Native",
        "RowBinary",
        "TSKV",
        "TSV",
        "TSVRaw",
        "TabSeparated",
        "TabSeparatedRaw",
    }
)
"""Formats whose blocks, one after another, are a whole."""

_TOKEN = re.compile(  # ClickHouse takes typographic quotes as well
    r"""(?P<skipped>\s+|--[^\n]*|\#[!\ ][^\n]*|/\*.*?(?:\*/|\Z)
        |'(?:[^'\\]|\\.|'')*(?:'|\Z)|\u2018[^\u2019]*(?:\u2019|\Z)|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
    |(?P<quoted>`(?:[^`\\]|\\.|``)*(?:`|\Z)|"(?:[^"\\]|\\.|"")*(?:"|\Z)|\u201c[^\u201d]*(?:\u201d|\Z))
    |(?P<word>\w+)|(?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
_FILE_CLAUSES: Final = frozenset({("into", "outfile"), ("from", "infile")})
_PROCESS_FUNCTIONS: Final = frozenset({"file", "python", "executable", "executablepool"})
_IDENTIFIER = re.compile(r":\s*Identifier", re.IGNORECASE)
_SUSPECTS = re.compile(r"outfile|infile|file|python|executable|\\", re.IGNORECASE)


class Insert(NamedTuple):
    """An INSERT with rows in a format.

    Attributes:
        into: ``INSERT INTO table (columns)``.
        settings: Its SETTINGS clause, or empty.
        input_format: Name of the rows' format.
        data: The rows.
    """

    into: str
    settings: str
    input_format: str
    data: bytes


def insert_of(text: bytes) -> Insert | None:
    """Returns the INSERT with rows in a format, if the text is one."""
    head = _INSERT.match(text)
    if head is None:
        return None
    return Insert(*_insert_head(head["into"], head["settings"], head["format"]), text[head.end() :])


@lru_cache(maxsize=256)
def _insert_head(
    into: bytes, settings: bytes | None, input_format: bytes | None
) -> tuple[str, str, str]:
    without = _ASYNC_INSERT.sub("async_insert=0", (settings or b"").decode())
    return into.decode().strip(), without, (input_format or b"Values").decode()


def only_reads(text: bytes) -> bool:
    """Whether a statement changes neither data nor its connection; False where in doubt."""
    return bool(_READS.match(text)) and not _WRITES.search(text)


def is_streamed(statement: str, default_format: str) -> bool:
    """Whether the result of a query may be sent block by block."""
    if not _SELECTS.match(statement) or _NOT_STREAMED.search(statement):
        return False
    clause = _FORMAT_CLAUSE.search(statement[-_MAX_CLAUSE_LENGTH:])
    return (clause[1] if clause else default_format) in _STREAMED_FORMATS


def check_statement(statement: str, parameters: Mapping[str, str] | None = None) -> None:
    """Refuses what touches files or the process and yet needs no right of the engine.

    ``INTO OUTFILE`` and ``FROM INFILE`` are the client's in ClickHouse, and the client is this
    process; the scalar function ``file`` and chdb's ``Python`` are free to everyone, and need not
    stand before a parenthesis: ``arrayMap(file, ['/etc/passwd'])``. A column of that name has to be
    qualified: ``t.file``.

    Raises:
        EngineError: It does.
    """
    identifiers = (parameters or {}).values() if _IDENTIFIER.search(statement) else ()
    if not _SUSPECTS.search(" ".join((statement, *identifiers))):
        return
    previous = ""
    for word in (*_words(statement), *(name.strip('`" ').lower() for name in identifiers)):
        if (previous, word) in _FILE_CLAUSES:
            raise _denied(f"{previous} {word}".upper())
        if word in _PROCESS_FUNCTIONS and previous != ".":
            raise _denied(f"{word}()")
        previous = word


def _words(statement: str) -> Iterator[str]:
    """Yields words, names without their quotes, and signs, in lower case; no strings."""
    for token in _TOKEN.finditer(statement):
        if token["word"] is not None:
            yield token["word"].lower()
        elif token["quoted"] is not None:
            name = token["quoted"][1:-1]
            yield "file" if "\\" in name else name.lower()  # an escape may spell anything
        elif token["other"] is not None:
            yield token["other"]


def _denied(what: str) -> EngineError:
    reason = f"{what} reaches beyond the store, which its user may not."
    return EngineError(497, "ACCESS_DENIED", reason)
