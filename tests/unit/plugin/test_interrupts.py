"""Ctrl-C between two lines ends a session as any other."""

from __future__ import annotations

import contextlib
import types
from typing import TYPE_CHECKING, Any

import pytest

from pytest_babyai.plugin.loop import drop_unknown_lines

if TYPE_CHECKING:
    from collections.abc import Iterator


def place_without_line() -> types.TracebackType:
    """A place in an instruction that the compiler has added."""

    def generate(context: Any) -> Iterator[int]:
        with context:
            yield 1

    generator: Any = generate(contextlib.nullcontext())
    next(generator)
    starts = [start for start, _, line in generate.__code__.co_lines() if line is None]
    if not starts:
        pytest.skip("this Python's compiler adds none")
    return types.TracebackType(None, generator.gi_frame, starts[0], -1)


def interrupted() -> pytest.ExceptionInfo[BaseException]:
    with pytest.raises(KeyboardInterrupt) as caught:
        raise KeyboardInterrupt
    error = caught.value
    assert error.__traceback__ is not None
    error.__traceback__.tb_next = place_without_line()
    return pytest.ExceptionInfo.from_exception(error)


def test_pytest_can_tell_of_an_interrupt_between_two_lines() -> None:
    excinfo = interrupted()

    drop_unknown_lines(excinfo)

    assert len(excinfo.traceback) == 1
    assert "KeyboardInterrupt" in str(excinfo.getrepr(funcargs=True))
