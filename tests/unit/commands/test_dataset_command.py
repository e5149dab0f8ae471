"""``dataset``: what it takes, writes and prints, and how it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_babyai.commands import run_command
from pytest_babyai.errors import SettingsError, UsageError
from pytest_babyai.finetuning.failures import DatasetError
from tests.unit.finetuning.finetuning_samples import make_project, play, record_run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_project(tmp_path)
    return tmp_path


@pytest.fixture
def run(root: Path) -> str:
    return record_run(
        root, [play(seed, progression=seed % 2, episode_return=seed % 2 * 0.8) for seed in range(6)]
    ).run_id


def call(root: Path, *arguments: str) -> list[str]:
    return list(run_command(["dataset", *arguments, f"--root={root}"]))


def refusal(root: Path, *arguments: str, kind: type[UsageError] = SettingsError) -> str:
    with pytest.raises(kind) as caught:
        call(root, *arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def written(root: Path) -> set[str]:
    return {path.name for path in root.glob("*.json*")}


def test_a_run_becomes_training_data(root: Path, run: str) -> None:
    lines = call(root, run[-4:], f"--output={root / 'data.jsonl'}")

    assert lines[0] == f"history_and_reasoning in run {run}, where progression>=1"
    assert lines[-1].endswith("data.card.json written")
    assert "dropped episodes: condition not met 3" in lines
    assert written(root) == {"data.jsonl", "data.validation.jsonl", "data.card.json"}


def test_all_conditions_have_to_be_met(root: Path, run: str) -> None:
    output = f"-o{root / 'data.jsonl'}"

    assert "episode_return>=0.9): 6 condition not met" in refusal(
        root,
        run,
        output,
        "--where=progression>=0",
        "--where=episode_return>=0.9",
        kind=DatasetError,
    )
    assert written(root) == set()


def test_it_is_written_where_one_stands(
    root: Path, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)

    call(root, run, "--val-fraction=0")

    assert written(root) == {"data.jsonl", "data.card.json"}


def test_nothing_is_overwritten_unasked(root: Path, run: str) -> None:
    output = f"-o{root / 'data.jsonl'}"
    call(root, run, output)

    assert "data.jsonl exists already; --force replaces it" in refusal(root, run, output)
    assert call(root, run, output, "--force")[-1].endswith("written")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--where=progresion>=1"], "did you mean 'progression'?"),
        (["--val-fraction=1"], "from 0 to below 1, found '1'"),
        (["--val-fraction=x"], "from 0 to below 1, found 'x'"),
        (["--variant=histori_and_reasoning"], "did you mean 'history_and_reasoning'?"),
        (["--run=1"], "--run, --store and --clickhouse-url go with 'store'"),
        (["--config=nowhere"], "--config: there is no directory nowhere"),
        (["-odata.json"], "does not end in .jsonl"),
    ],
)
def test_what_is_wrong_is_told(root: Path, run: str, arguments: list[str], part: str) -> None:
    output = [] if any(a.startswith("-o") for a in arguments) else [f"-o{root / 'data.jsonl'}"]

    assert part in refusal(root, run, *output, *arguments)
    assert written(root) == set()


def test_an_unknown_run_is_told(root: Path, run: str) -> None:
    del run

    assert "no run 'zzz'" in refusal(root, "zzz", f"-o{root / 'data.jsonl'}")


def test_a_store_that_is_not_there_is_told(root: Path) -> None:
    message = refusal(root, "store", f"-o{root / 'data.jsonl'}")

    assert f"there is no store in {root / '.babyai/store'}" in message


def test_a_database_that_is_not_there_is_told_without_its_password(root: Path) -> None:
    url = "http://user:s3cr3t-pass@127.0.0.1:9/tensorzero"

    message = refusal(root, "store", f"--clickhouse-url={url}", f"-o{root / 'data.jsonl'}")

    assert "127.0.0.1:9" in message
    assert "s3cr3t" not in message


def test_templates_that_changed_are_told(root: Path, run: str) -> None:
    with (root / "config/functions/act/system/rules.minijinja").open("a") as template:
        template.write("x")

    message = refusal(root, run, f"-o{root / 'data.jsonl'}", kind=DatasetError)

    assert "template system" in message


def test_the_help_names_every_option(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    call(tmp_path, "--help")

    said = capsys.readouterr().out
    for option in ("--where", "--output", "--val-fraction", "--force", "--store", "--root"):
        assert option in said
