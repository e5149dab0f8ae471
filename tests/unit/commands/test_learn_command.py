"""``learn`` around the program that plays, which is a fake one here."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, NamedTuple

import pytest

from pytest_babyai.__main__ import main
from pytest_babyai.commands.foreground import Ended, run_to_its_end
from pytest_babyai.commands.learn import (
    DIRECTORY,
    QUICK,
    STATE_FILE,
    LearningState,
    LearnOptions,
    _Clock,
)
from pytest_babyai.errors import SettingsError
from pytest_babyai.project import create_project
from tests.unit.offline.finetuning_samples import needs_torch

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = needs_torch

INTERRUPTED_PYTEST = """
import signal, sys, time

def stop(*_):
    time.sleep(0.6)  # longer than what subprocess.run waits before it kills
    print("ended cleanly", flush=True)
    sys.exit({code})

signal.signal(signal.SIGINT, stop)
print("playing", flush=True)
while True:
    signal.pause()
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project; ``python -m pytest`` would find a ``pytest.py`` in it."""
    create_project(tmp_path)
    return tmp_path


class Interrupted(NamedTuple):
    code: int
    out: list[str]
    err: str


def interrupt_learn(root: Path, *, code_of_pytest: int) -> Interrupted:
    """Presses Ctrl-C in the terminal of ``learn``, whose pytest is a fake program."""
    (root / "pytest.py").write_text(INTERRUPTED_PYTEST.format(code=code_of_pytest))
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest_babyai", "learn", f"--root={root}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    while process.stdout.readline() != "playing\n":
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    return Interrupted(process.returncode, out.splitlines(), err)


def test_pytest_ends_cleanly_and_the_command_with_its_code(root: Path) -> None:
    ended = interrupt_learn(root, code_of_pytest=2)

    assert ended.out == [
        "ended cleanly",
        "pytest was interrupted; the same command goes on from here",
    ]
    assert (ended.code, ended.err) == (2, "")


def test_a_step_that_has_just_finished_is_not_followed_by_another(root: Path) -> None:
    ended = interrupt_learn(root, code_of_pytest=0)

    assert ended.out == ["ended cleanly"]
    assert (ended.code, ended.err) == (130, "pytest_babyai learn: interrupted\n")


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("raise SystemExit(3)", 3),
        ("import os; os.kill(os.getpid(), 9)", 128 + 9),
    ],
    ids=["exit", "signal"],
)
def test_the_code_of_a_program_is_that_of_shells(tmp_path: Path, statement: str, code: int) -> None:
    ended = run_to_its_end([sys.executable, "-c", statement], tmp_path)

    assert ended == Ended(code, is_interrupted=False)


def test_afterwards_ctrl_c_does_what_it_did(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)

    run_to_its_end([sys.executable, "-c", ""], tmp_path)

    assert signal.getsignal(signal.SIGINT) is before


def refusal(root: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """Runs ``learn``, which has to be refused in one line; returns that line."""
    assert main(["learn", *options, f"--root={root}"]) == 4
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    return printed.err.removeprefix("pytest_babyai learn: ")


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("--where=progresion>=1", "--where: unknown metric 'progresion' in "),
        ("--epochs=0", "--epochs: expected a whole number of at least 1, found '0'"),
        ("--base=gpt-4.1-nano", "--base, the --model of finetune: the environment variable OPENAI"),
        ("--teacher=histroy", "--teacher: no variant 'histroy'; did you mean 'history'?"),
    ],
    ids=["condition", "epochs", "key", "teacher"],
)
def test_what_a_later_step_would_refuse_is_refused_before_anything_is_played(
    root: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    option: str,
    line: str,
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    assert refusal(root, capsys, option).startswith(line)

    assert not (root / DIRECTORY).exists()


def test_a_variant_needs_a_configuration_of_the_project(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refusal(tmp_path, capsys).startswith(f"there is no config directory in {tmp_path} to ")


def test_a_loop_that_pytest_refused_may_be_started_with_other_options(root: Path) -> None:
    (root / "pytest.py").write_text("raise SystemExit(4)")
    assert main(["learn", "--teacher=baseline", f"--root={root}"]) == 4

    assert main(["learn", "--teacher=history", f"--root={root}"]) == 4

    assert '"teacher": "history"' in (root / DIRECTORY / STATE_FILE).read_text()


def test_a_suite_that_plays_nothing_is_one_line(
    root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (root / "pytest.py").write_text("")

    assert main(["learn", f"--root={root}"]) == 4

    assert capfd.readouterr().err == (
        "pytest_babyai learn: evals: the journal has no run of it; the loop needs a test that is "
        "marked with babyai, and a journal that is on\n"
    )


def test_a_clone_has_a_configuration_of_its_own(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a clone the project's directory is the one that a package would carry."""
    create_project(tmp_path)
    monkeypatch.setattr("pytest_babyai.project.packaged", lambda name: tmp_path / name)
    (tmp_path / "pytest.py").write_text("raise SystemExit(4)")

    assert main(["learn", f"--root={tmp_path}"]) == 4

    assert "there is no config directory" not in capfd.readouterr().err
    assert (tmp_path / ".babyai/.gitignore").read_text() == "*\n"
    assert list((tmp_path / ".babyai").rglob(".gitignore")) == [tmp_path / ".babyai/.gitignore"]


@pytest.mark.parametrize(
    ("module", "extra"),
    [
        ("torch", "finetune"),
        ("python_multipart", "finetune"),
        ("altair", "report"),
        ("vl_convert", "report"),
    ],
)
def test_a_missing_extra_is_said_before_anything_is_played(
    root: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    extra: str,
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec",
        lambda name, *rest: None if name == module else find(name, *rest),
    )

    assert f"pip install 'pytest-babyai[{extra}]'" in refusal(root, capsys)


def test_a_full_disk_is_said_before_anything_is_played(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10**6))

    assert "1 MB free, and the loop needs 500 MB" in refusal(root, capsys)


def test_a_fine_tuned_variant_that_is_there_is_not_replaced_unasked(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "config/models/policy_sft.json").write_text("{}")

    assert "policy_sft.json exists already; --force replaces it" in refusal(root, capsys)


def test_every_step_is_announced_with_the_time_that_is_left() -> None:
    clock = _Clock(["collect", "curate", "fine-tune", "evaluate", "report"], LearnOptions())
    assert clock.left() == "0 s gone, about 20 min left"

    quick = _Clock(["evaluate", "report"], LearnOptions(quick=True))
    assert quick.left() == "0 s gone, about 2 min left"


def test_a_quick_loop_is_smaller_unless_said_otherwise() -> None:
    assert LearnOptions(quick=True).scaled().episodes == QUICK["episodes"]
    assert LearnOptions(quick=True, episodes=7).scaled().episodes == 7
    assert LearnOptions().scaled().episodes is None


@pytest.mark.parametrize("text", ["{", "[]", '{"options": {}, "runs": []}'])
def test_a_damaged_state_is_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / STATE_FILE
    path.write_text(text)

    with pytest.raises(SettingsError, match=r"state\.json: damaged; --fresh begins anew"):
        LearningState.read(path)


def test_the_run_of_a_step_is_the_first_that_was_not_there_before() -> None:
    state = LearningState({}, known_runs={"collect": ["a"]})

    assert state.run_of("collect", ["a"]) is None
    assert state.run_of("collect", ["a", "b", "c"]) == "b"
    assert state.run_of("evaluate", ["a"]) is None
    assert state.has_begun(["a", "b"])
    assert not state.has_begun(["a"])


def test_a_state_is_written_and_read(tmp_path: Path) -> None:
    state = LearningState({"teacher": "x"}, {"collect": ["a"]}, {"collect": "b"}, ["collect"])
    state.write(tmp_path / "new" / STATE_FILE)

    assert LearningState.read(tmp_path / "new" / STATE_FILE) == state
    assert LearningState.read(tmp_path / STATE_FILE) is None
