"""Errors of the store's server as ClickHouse tells them: a code, a name, an HTTP status."""

from __future__ import annotations

import re

_TOLD = re.compile(r"Code: (?P<code>\d+)\. DB::\w*Exception: .*\((?P<name>[A-Z0-9_]+)\)", re.DOTALL)
_STATUS = {
    "REQUIRED_PASSWORD": 401,
    "AUTHENTICATION_FAILED": 403,
    "ACCESS_DENIED": 403,
    "READONLY": 403,
    "TIMEOUT_EXCEEDED": 408,
    "SYNTAX_ERROR": 400,
    "NOT_IMPLEMENTED": 501,
}
_BAD_DATA = {
    "ARGUMENT_OUT_OF_BOUND",
    "ATTEMPT_TO_READ_AFTER_EOF",
    "CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN",
    "CANNOT_READ_ALL_DATA",
    "ILLEGAL_TYPE_OF_ARGUMENT",
    "INCORRECT_DATA",
    "TOO_DEEP_RECURSION",
    "TYPE_MISMATCH",
    "VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE",
}

_PASSING = {
    "ABORTED",
    "FILE_DOESNT_EXIST",
    "MEMORY_LIMIT_EXCEEDED",
    "NOT_ENOUGH_SPACE",
    "QUERY_WAS_CANCELLED",
    "STD_EXCEPTION",
    "TIMEOUT_EXCEEDED",
    "TOO_MANY_PARTS",
    "TOO_MANY_SIMULTANEOUS_QUERIES",
    "UNKNOWN_EXCEPTION",
}


class EngineError(Exception):
    """A statement failed.

    Args:
        code: ClickHouse's number of the error.
        name: ClickHouse's name of the error, such as ``UNKNOWN_TABLE``.
        reason: What happened, without code and name.
    """

    def __init__(self, code: int, name: str, reason: str) -> None:
        super().__init__(f"Code: {code}. DB::Exception: {reason} ({name})")
        self.code = code
        self.name = name

    @classmethod
    def from_text(cls, text: str) -> EngineError:
        """Reads what the engine said; anything else gets the code of an unknown exception."""
        told = _TOLD.search(text)
        if told is None:
            return cls(1002, "UNKNOWN_EXCEPTION", text)
        start = text.index("Exception: ", told.start()) + len("Exception: ")
        return cls(int(told["code"]), told["name"], text[start : told.start("name") - 2])

    @property
    def status(self) -> int:
        """HTTP status that ClickHouse answers this error with."""
        if self.name in _STATUS:
            return _STATUS[self.name]
        if self.name.startswith("UNKNOWN_") and self.name != "UNKNOWN_EXCEPTION":
            return 404
        return 400 if self.is_bad_data else 500

    @property
    def is_bad_data(self) -> bool:
        """Whether rows could not be read, so that none of their INSERT was written."""
        return self.name.startswith("CANNOT_PARSE_") or self.name in _BAD_DATA

    @property
    def is_final(self) -> bool:
        """Whether the same rows will be refused whenever they are written."""
        is_passing = self.name in _PASSING or self.name.startswith("CANNOT_")
        return self.is_bad_data or not is_passing
