"""What is wrong with a command line is one line that says what would be right."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_babyai.__main__ import main
from pytest_babyai.commands import COMMANDS

HELP = "python -m pytest_babyai {} --help tells more"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["rnus"], "unknown command 'rnus'; did you mean 'runs'?"),
        (["--verison"], "unknown command '--verison'; choose from init, runs, "),
        ([], "no command; choose from init, runs, "),
        (
            ["compare", "latest"],
            f"missing argument 'B'; {HELP.format('compare')}",
        ),
        (
            ["compare", "a", "b", "--metrc=success"],
            "unknown option --metrc; did you mean '--metric'?\n",
        ),
        (
            ["runs", "latest"],
            f"got unexpected extra argument (latest); {HELP.format('runs')}",
        ),
        (["store", "--port=x"], "invalid value for '--port': 'x' is not a valid integer; "),
        (["compare", "a", "b", "--fail"], "option '--fail' requires an argument\n"),
        (
            ["record", "latest", "--store=s", "--gateway-url=http://localhost:3000"],
            "--store and --gateway-url exclude each other; give one of them",
        ),
    ],
    ids=[
        "command",
        "own option",
        "none",
        "missing",
        "option",
        "argument",
        "value",
        "no value",
        "exclusive",
    ],
)
def test_a_wrong_command_line_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], line: str
) -> None:
    assert main(arguments) == 4

    printed = capsys.readouterr()
    assert printed.out == ""
    name = arguments[0] if arguments and not line.startswith("unknown command") else ""
    assert printed.err.startswith(f"pytest_babyai {name}".rstrip() + f": {line}")
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--help"], ["compare", "--help"]])
def test_help_is_no_mistake(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert main(arguments) == 0

    assert capsys.readouterr().out.startswith("Usage: python -m pytest_babyai")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_its_help(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert main([command, "-h"]) == 0

    assert capsys.readouterr().out.startswith(f"Usage: python -m pytest_babyai {command} ")


def python(program: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], text=True, check=False, **options)


def test_a_command_imports_nothing_heavy_that_it_does_not_use(tmp_path: Path) -> None:
    program = (
        "import sys; from pytest_babyai.__main__ import main; "
        f"main(['runs', '--root', {str(tmp_path)!r}]); "
        "print(*{'torch', 'pandas', 'tensorzero', 'minigrid', 'chdb', 'altair'} & {*sys.modules}); "
        "print(*(m for m in sys.modules if m.startswith('pytest_babyai.commands.')))"
    )

    heavy, commands = python(program, capture_output=True).stdout.splitlines()[-2:]

    assert heavy == ""
    assert sorted(commands.split()) == [
        f"pytest_babyai.commands.{name}" for name in ("options", "places", "runs")
    ]


MANY_LINES = """
import sys
import pytest_babyai.__main__ as program
program.run_command = lambda _: iter(["a line"] * 100_000)
sys.exit(program.main(["runs"]))
"""


def test_a_reader_that_has_seen_enough_is_no_mistake() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", MANY_LINES],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "a line\n"
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has such a file")
def test_an_output_that_takes_nothing_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        ended = python(MANY_LINES, stdout=full, stderr=subprocess.PIPE)

    assert (ended.returncode, ended.stderr) == (4, "pytest_babyai runs: No space left on device\n")


def test_a_closed_output_is_no_mistake() -> None:
    ended = subprocess.run(
        ["/bin/sh", "-c", f"{sys.executable} -m pytest_babyai runs >&-"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_terminal_that_cannot_show_a_character_is_no_mistake() -> None:
    program = MANY_LINES.replace('"a line"', '"Δ ±"').replace("100_000", "1")

    ended = python(program, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"})

    assert (ended.returncode, ended.stdout) == (0, "\\u0394 \\xb1\n")
