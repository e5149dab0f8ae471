"""Group commit, and disks that refuse."""

from __future__ import annotations

import asyncio
import errno
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from pytest_babyai.errors import JournalError
from pytest_babyai.journal.files import AppendFile, GroupWriter
from tests.unit.journal.journal_samples import FullDisk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class SlowDisk(AppendFile):
    """Holds every sync until it is let go, and counts them."""

    def __init__(self) -> None:
        self.content = b""
        self.num_syncs = 0
        self.syncing = threading.Event()
        self.go_on = threading.Event()

    def write(self, content: bytes) -> int:
        self.content += content
        return len(content)

    def sync(self) -> None:
        self.num_syncs += 1
        self.syncing.set()
        assert self.go_on.wait(30)

    def truncate(self, size: int) -> None:
        self.content = self.content[:size]

    def close(self) -> None:
        pass


class BrokenSync(SlowDisk):
    """A disk that takes everything and cannot say whether it has it."""

    def sync(self) -> None:
        raise OSError(errno.EIO, "Input/output error")


def writer_on(path: Path, file: AppendFile) -> GroupWriter:
    return GroupWriter(path, file, 0, "resume it")


def line(number: int) -> Callable[[], bytes]:
    return lambda: b"line %d\n" % number


def test_lines_that_come_while_the_disk_is_busy_share_one_sync(tmp_path: Path) -> None:
    disk = SlowDisk()
    writer = writer_on(tmp_path / "f", disk)

    async def append_many() -> None:
        first = asyncio.ensure_future(writer.append_async(line(0)))
        await asyncio.to_thread(disk.syncing.wait, 30)
        rest = [asyncio.ensure_future(writer.append_async(line(n))) for n in range(1, 50)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in [first, *rest])
        disk.go_on.set()
        await asyncio.gather(first, *rest)

    asyncio.run(append_many())
    writer.close()

    assert disk.num_syncs == 2
    assert disk.content == b"".join(line(n)() for n in range(50))


def test_threads_lose_and_mix_nothing(tmp_path: Path) -> None:
    path = tmp_path / "f"
    writer = writer_on(path, AppendFile(path))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: writer.append(line(n)), range(400)))
    writer.close()

    assert sorted(path.read_bytes().splitlines(keepends=True)) == sorted(
        line(n)() for n in range(400)
    )


def test_a_cancelled_wait_does_not_take_the_line_back(tmp_path: Path) -> None:
    disk = SlowDisk()
    writer = writer_on(tmp_path / "f", disk)

    async def cancel() -> None:
        waiting = asyncio.ensure_future(writer.append_async(line(1)))
        await asyncio.to_thread(disk.syncing.wait, 30)
        waiting.cancel()
        disk.go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await writer.append_async(line(2))

    asyncio.run(cancel())
    writer.close()

    assert disk.content == b"line 1\nline 2\n"


def test_a_loop_that_ended_does_not_stop_the_writer(tmp_path: Path) -> None:
    disk = SlowDisk()
    writer = writer_on(tmp_path / "f", disk)
    loop = asyncio.new_event_loop()
    waiting = loop.create_task(writer.append_async(line(1)))
    loop.run_until_complete(asyncio.sleep(0))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(waiting)
    loop.close()

    disk.go_on.set()
    writer.append(line(2))
    writer.close()

    assert disk.content == b"line 1\nline 2\n"


def test_a_full_disk_is_told_in_one_line_and_keeps_the_lines_before(tmp_path: Path) -> None:
    path = tmp_path / "episodes.jsonl"
    writer = writer_on(path, FullDisk(path, room=10))
    writer.append(line(1))

    with pytest.raises(JournalError) as caught:
        writer.append(line(2))
    writer.close()

    assert str(caught.value) == (
        f"{path}: No space left on device; earlier episodes are kept; resume it"
    )
    assert path.read_bytes() == b"line 1\n"


def test_a_disk_with_room_again_takes_lines_again(tmp_path: Path) -> None:
    path = tmp_path / "f"
    disk = FullDisk(path, room=10)
    writer = writer_on(path, disk)
    writer.append(line(1))
    with pytest.raises(JournalError):
        writer.append(line(2))

    disk.room = 100
    writer.append(line(3))
    writer.close()

    assert path.read_bytes() == b"line 1\nline 3\n"


def test_of_lines_written_together_those_with_room_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "f"
    disk = FullDisk(path, room=16)
    writer = writer_on(path, disk)
    busy = threading.Event()

    def slow_line() -> bytes:
        assert busy.wait(30)
        return b"line 0\n"

    async def append_three() -> list[object]:
        tasks = [asyncio.ensure_future(writer.append_async(slow_line))]
        await asyncio.sleep(0)
        tasks += [asyncio.ensure_future(writer.append_async(line(n))) for n in (1, 2)]
        await asyncio.sleep(0)
        busy.set()
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    outcomes = asyncio.run(append_three())
    writer.close()

    assert [isinstance(outcome, JournalError) for outcome in outcomes] == [False, False, True]
    assert path.read_bytes() == b"line 0\nline 1\n"


def test_a_part_that_cannot_be_cut_away_is_closed_before_the_next_line(tmp_path: Path) -> None:
    path = tmp_path / "f"
    disk = FullDisk(path, room=10)
    disk.can_truncate = False
    writer = writer_on(path, disk)
    writer.append(line(1))
    with pytest.raises(JournalError):
        writer.append(line(2))

    disk.room = 100
    writer.append(line(3))
    writer.close()

    assert path.read_bytes() == b"line 1\nlin\nline 3\n"


def test_nothing_is_cut_once_the_size_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "f"
    disk = FullDisk(path, room=10)
    disk.can_truncate = False
    writer = writer_on(path, disk)
    writer.append(line(1))
    for number, room in ((2, 10), (3, 100), (4, 21)):
        disk.room = room
        disk.can_truncate = number == 4
        if number == 3:
            writer.append(line(number))
        else:
            with pytest.raises(JournalError):
                writer.append(line(number))
    writer.close()

    assert path.read_bytes().startswith(b"line 1\nlin\nline 3\n")


def test_after_a_failed_sync_nothing_is_written(tmp_path: Path) -> None:
    disk = BrokenSync()
    writer = writer_on(tmp_path / "f", disk)

    for number in (1, 2):
        with pytest.raises(JournalError, match="Input/output error"):
            writer.append(line(number))
    writer.close()

    assert disk.content == b""


def test_a_line_that_cannot_be_made_fails_alone(tmp_path: Path) -> None:
    path = tmp_path / "f"
    writer = writer_on(path, AppendFile(path))

    def bad() -> bytes:
        raise TypeError("no such type in JSON")

    with pytest.raises(TypeError, match="no such type"):
        writer.append(bad)
    writer.append(line(2))
    writer.close()

    assert path.read_bytes() == b"line 2\n"


def test_a_file_that_breaks_in_an_unforeseen_way_leaves_nobody_waiting(tmp_path: Path) -> None:
    class Absurd(SlowDisk):
        def write(self, content: bytes) -> int:
            raise RuntimeError(f"{len(content)} bytes are too many")

    writer = writer_on(tmp_path / "f", Absurd())

    with pytest.raises(RuntimeError, match="7 bytes"):
        writer.append(line(1))
    writer.close()


def test_a_closed_writer_refuses(tmp_path: Path) -> None:
    path = tmp_path / "f"
    writer = writer_on(path, AppendFile(path))
    writer.close()

    with pytest.raises(JournalError, match="closed"):
        writer.append(line(1))
