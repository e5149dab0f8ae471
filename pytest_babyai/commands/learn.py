"""``learn``: the whole loop. An agent plays, learns from its successes, and is evaluated again.

Every step is one of the other commands, and could be typed by itself. What has been done is kept in
``.babyai/learn/state.json``; whatever ends the command, the same command goes on.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pytest_babyai.commands.places import add_root, journal_of
from pytest_babyai.errors import SettingsError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Generator, Iterator, Sequence
    from pathlib import Path

DIRECTORY: Final = ".babyai/learn"
"""Where state, training data and reports are kept, below the project's root."""

STATE_FILE: Final = "state.json"
HUMAN_MODEL: Final = "offline_human"
TEACHER: Final = "history_and_reasoning"
_SUFFIX: Final = "_sft"
_NUM_STEPS: Final = 5
_FAILED_TESTS: Final = 1


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "learn", help="collect, curate, fine-tune, evaluate, report: the loop, resumable"
    )
    parser.add_argument("evals", nargs="?", default="evals", help="the suite (default: evals)")
    parser.add_argument(
        "--episodes", type=int, metavar="N", help="training episodes per task (default: 200)"
    )
    parser.add_argument(
        "--evaluation-episodes", type=int, metavar="N", help="default: as the suite says"
    )
    parser.add_argument(
        "--teacher", default=TEACHER, metavar="VARIANT", help=f"who is learned from ({TEACHER})"
    )
    parser.add_argument(
        "--where", default="progression>=1", metavar="CONDITION", help="default: progression>=1"
    )
    parser.add_argument(
        "--model",
        metavar="NAME|PATH",
        help="as --babyai-model (default: the project's; offline_human in the place of offline)",
    )
    parser.add_argument("--base", metavar="NAME", help="model to fine-tune; as finetune --model")
    parser.add_argument("--epochs", metavar="N", help="as finetune --epochs")
    parser.add_argument(
        "--force", action="store_true", help="replace a fine-tuned variant that is there"
    )
    parser.add_argument(
        "--fresh", action="store_true", help="begin anew, whatever has been done before"
    )
    add_root(parser)
    parser.set_defaults(lines=_lines)


@dataclass
class LearningState:
    """How far the loop is; kept in a file.

    Attributes:
        options: What it was started with; other options are another loop.
        known_runs: Runs of the journal before a step by name of the step, so that the one that it
            makes is known even if nobody lives to note it.
        runs: Run by name of the step, once it is finished.
        done: Steps that are finished.
    """

    options: dict[str, Any]
    known_runs: dict[str, list[str]] = field(default_factory=dict)
    runs: dict[str, str] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)


class Loop:
    """The five steps of a project's loop.

    Args:
        chosen: The command line.

    Raises:
        SettingsError: The loop was started with other options.
    """

    def __init__(self, chosen: argparse.Namespace) -> None:
        self._chosen = chosen
        self.directory: Path = chosen.root / DIRECTORY
        self.state = self._read()

    @property
    def data(self) -> Path:
        """The training data."""
        return self.directory / "data.jsonl"

    def lines(self) -> Generator[str, None, int]:
        """Yields the progress; returns the exit code."""
        for number, (name, step) in enumerate(self._steps(), 1):
            title = f"== {number}/{_NUM_STEPS} {name}"
            if name in self.state.done:
                yield f"{title}: done before"
                continue
            yield title
            code: int = yield from step()
            if code:
                return code
            self.state.done.append(name)
            self._write()
        return 0

    def _steps(self) -> list[tuple[str, Any]]:
        return [
            ("collect", self._collect),
            ("curate", self._curate),
            ("fine-tune", self._fine_tune),
            ("evaluate", self._evaluate),
            ("report", self._report),
        ]

    def _collect(self) -> Generator[str, None, int]:
        options = ["--babyai-collect", f"--babyai-variants={self._chosen.teacher}"]
        if self._chosen.episodes is not None:
            options.append(f"--babyai-episodes={self._chosen.episodes}")
        return (yield from self._pytest("collect", options))

    def _curate(self) -> Generator[str, None, int]:
        run = self.state.runs["collect"]
        where = f"--where={self._chosen.where}"
        yield from self._command("dataset", run, where, f"--output={self.data}", "--force")
        return 0

    def _fine_tune(self) -> Generator[str, None, int]:
        options = [str(self.data)]
        options += [f"--model={self._chosen.base}"] if self._chosen.base else []
        options += [f"--epochs={self._chosen.epochs}"] if self._chosen.epochs else []
        options += ["--force"] if self._chosen.force else []
        yield from self._command("finetune", *options)
        return 0

    def _evaluate(self) -> Generator[str, None, int]:
        teacher = self._chosen.teacher
        variants = ",".join(dict.fromkeys([*self._variants(), teacher, f"{teacher}{_SUFFIX}"]))
        options = [f"--babyai-variants={variants}", f"--babyai-reference={teacher}"]
        if self._chosen.evaluation_episodes is not None:
            options.append(f"--babyai-episodes={self._chosen.evaluation_episodes}")
        code = yield from self._pytest("evaluate", options)
        if code == _FAILED_TESTS:
            yield "the evaluation has failed tests or errors; its report is written all the same"
            yield from self._report()
        return code

    def _report(self) -> Generator[str, None, int]:
        run = self.state.runs["evaluate"]
        files = [f"--{kind}={self.directory / f'report.{kind}'}" for kind in ("html", "md")]
        charts = f"--charts={self.directory / 'charts'}"
        yield from self._command("report", run, *files, charts)
        yield from self._learning_curve()
        return 0

    def _learning_curve(self) -> Iterator[str]:
        """Draws the training, where the offline server did it; others draw their own."""
        from pytest_babyai.finetuning.fine_tune import OFFLINE
        from pytest_babyai.finetuning.tuned_variant import TunedVariantFiles

        job = json.loads(TunedVariantFiles(self._config_dir()).manifest.read_bytes())["job"]
        if job["provider"] == OFFLINE:
            output = f"--output={self.directory / 'learning-curve.svg'}"
            yield from self._command("learning-curve", job["id"], output)

    def _config_dir(self) -> Path:
        from pytest_babyai.project import find_config

        return find_config(None, [self._chosen.root])

    def _variants(self) -> Sequence[str]:
        from pytest_babyai.gateway.configuration import FINE_TUNED_MODEL, read_configuration

        declared = read_configuration(self._config_dir(), None, os.environ, check_credentials=False)
        return [name for name in declared.variants if FINE_TUNED_MODEL not in name]

    def _pytest(self, step: str, options: Sequence[str]) -> Generator[str, None, int]:
        """Runs or resumes the run of a step; its output goes where ours does."""
        known = self.state.known_runs.setdefault(step, self._run_ids())
        self._write()
        new = [run for run in self._run_ids() if run not in known]
        model = [f"--babyai-model={self._chosen.model}"] if self._chosen.model else []
        resume = [f"--babyai-resume={new[-1]}"] if new else []
        arguments = [self._chosen.evals, *options, *model, *resume]
        yield f"pytest {shlex.join(arguments)}"
        code = subprocess.run(  # noqa: S603 - pytest, with the user's own words
            [sys.executable, "-m", "pytest", "--quiet", *arguments],
            cwd=self._chosen.root,
            check=False,
        ).returncode
        new = [run for run in self._run_ids() if run not in known]
        if new:
            self.state.runs[step] = new[-1]
            self._write()
        if code:
            yield f"pytest ended with exit code {code}; the same command goes on from here"
        return code

    def _command(self, *arguments: str) -> Iterator[str]:
        from pytest_babyai.commands import command_parser

        root = ["--root", str(self._chosen.root)]
        chosen = command_parser().parse_args([*arguments, *root])
        yield from chosen.lines(chosen)

    def _run_ids(self) -> list[str]:
        from pytest_babyai.journal import list_runs

        root = journal_of(self._chosen)
        return [log.run_id for log in list_runs(root)] if root.is_dir() else []

    def _read(self) -> LearningState:
        path = self.directory / STATE_FILE
        options = {name: getattr(self._chosen, name) for name in _OPTIONS}
        if self._chosen.fresh or not path.is_file():
            return LearningState(options)
        try:
            state = LearningState(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            raise SettingsError(f"{path}: damaged; --fresh begins anew") from None
        changed = [name for name in _OPTIONS if state.options.get(name) != options[name]]
        if changed:
            flags = ", ".join(f"--{name.replace('_', '-')}" for name in changed)
            raise SettingsError(
                f"{path}: this loop was started with other values of {flags}; repeat them, or "
                "begin anew with --fresh"
            )
        return state

    def _write(self) -> None:
        from pytest_babyai.journal.files import replace_file

        path = self.directory / STATE_FILE
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            replace_file(path, json.dumps(asdict(self.state), indent=1).encode())
        except OSError as error:
            raise SettingsError(f"{error.filename or path}: {error.strerror or error}") from None


_OPTIONS: Final = (
    *("evals", "episodes", "evaluation_episodes", "teacher", "where", "model", "base", "epochs"),
)


def _lines(chosen: argparse.Namespace) -> Generator[str, None, int]:
    chosen.root = chosen.root.absolute()
    chosen.model = chosen.model or _project_model(chosen.root)
    loop = Loop(chosen)
    code = yield from loop.lines()
    if not code:
        yield f"open {loop.directory / 'report.html'}"
    return code


def _project_model(root: Path) -> str:
    """Returns the project's model, and in the place of the offline one its human-like twin."""
    from pytest_babyai.project import find_config
    from pytest_babyai.settings.sources import SETTINGS_FILE, read_settings_file, resolve

    settings = resolve([read_settings_file(find_config(None, [root]) / SETTINGS_FILE)])
    return HUMAN_MODEL if settings.model == "offline" else settings.model
