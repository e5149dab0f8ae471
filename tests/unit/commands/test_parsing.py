"""What is wrong with a command line is one line that says what would be right."""

from __future__ import annotations

import pytest

from pytest_babyai.__main__ import main

HELP = "python -m pytest_babyai {} --help tells more"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["rnus"], "unknown command 'rnus'; did you mean 'runs'?"),
        (["--verison"], "unknown command '--verison'; choose from init, runs, "),
        ([], "no command; choose from init, runs, "),
        (
            ["compare", "latest"],
            f"the following arguments are required: B; {HELP.format('compare')}",
        ),
        (
            ["compare", "a", "b", "--metrc=success"],
            "unknown option --metrc; did you mean '--metric'?\n",
        ),
        (["runs", "latest"], f"unexpected argument 'latest'; {HELP.format('runs')}"),
        (["store", "--port=x"], "argument --port: invalid int value: 'x'; "),
        (
            ["record", "latest", "--store=s", "--gateway-url=http://localhost:3000"],
            "argument --gateway-url: not allowed with argument --store; ",
        ),
    ],
    ids=["command", "own option", "none", "missing", "option", "argument", "value", "exclusive"],
)
def test_a_wrong_command_line_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], line: str
) -> None:
    assert main(arguments) == 4

    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"pytest_babyai: {line}")
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--help"], ["compare", "--help"]])
def test_help_is_no_mistake(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("usage: python -m pytest_babyai")
