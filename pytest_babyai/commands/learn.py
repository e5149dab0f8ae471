"""``learn``: the whole loop. An agent plays, learns from its successes, and is evaluated again.

Every step is one of the other commands, and could be typed by itself. What has been done is kept in
``.babyai/learn/state.json``; whatever ends the command, the same command goes on.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from pytest_babyai.commands.foreground import run_to_its_end
from pytest_babyai.commands.learning_state import LearningState, read_state, write_state
from pytest_babyai.commands.options import root_option, with_options
from pytest_babyai.commands.places import journal_of
from pytest_babyai.errors import SettingsError, UsageError
from pytest_babyai.settings.defaults import TEACHER

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from pathlib import Path
    from types import SimpleNamespace

DIRECTORY: Final = ".babyai/learn"
"""Where state, training data and reports are kept, below the project's root."""

STATE_FILE: Final = "state.json"
HUMAN_MODEL: Final = "offline_human"
_NUM_STEPS: Final = 5
_FAILED_TESTS: Final = 1


class Loop:
    """The five steps of a project's loop.

    Args:
        chosen: The command line.

    Raises:
        SettingsError: The loop was started with other options.
    """

    def __init__(self, chosen: SimpleNamespace) -> None:
        self._chosen = chosen
        self.directory: Path = chosen.root / DIRECTORY
        self.state = self._read()

    @property
    def data(self) -> Path:
        """The training data."""
        return self.directory / "data.jsonl"

    def check(self) -> None:
        """Refuses options of later steps before the first one is begun.

        Raises:
            UsageError: A condition is none, or nothing could be fine-tuned.
        """
        from pytest_babyai.commands.finetune import check_model_of, check_options
        from pytest_babyai.finetuning.conditions import parse_conditions

        if "fine-tune" in self.state.done:
            return
        parse_conditions([self._chosen.where])
        fine_tuning = self._parsed(*self._fine_tuning())
        check_options(fine_tuning)
        try:
            check_model_of(fine_tuning)
        except UsageError as error:
            raise type(error)(f"--base, the --model of finetune: {error}") from None

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
        yield from self._command(*self._fine_tuning())
        return 0

    def _fine_tuning(self) -> list[str]:
        options = [f"--model={self._chosen.base}"] if self._chosen.base else []
        options += [f"--epochs={self._chosen.epochs}"] if self._chosen.epochs else []
        options += ["--force"] if self._chosen.force else []
        return ["finetune", str(self.data), *options]

    def _evaluate(self) -> Generator[str, None, int]:
        from pytest_babyai.finetuning.tuned_variant import VARIANT_SUFFIX

        teacher = self._chosen.teacher
        names = [*self._variants(), teacher, f"{teacher}{VARIANT_SUFFIX}"]
        variants = ",".join(dict.fromkeys(names))
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
        curve = self.directory / "learning-curve.svg"
        curve.unlink(missing_ok=True)
        yield from self._learning_curve(curve)
        shown = [path for path in (curve, self.data.with_name("data.card.json")) if path.exists()]
        attached = [f"--attach={path}" for path in shown]
        yield from self._command("report", run, *files, charts, *attached)
        return 0

    def _learning_curve(self, path: Path) -> Iterator[str]:
        """Draws the training, where the offline server did it; others draw their own."""
        from pytest_babyai.finetuning.fine_tune import OFFLINE
        from pytest_babyai.finetuning.tuned_variant import TunedVariantFiles

        job = json.loads(TunedVariantFiles(self._config_dir()).manifest.read_bytes())["job"]
        if job["provider"] == OFFLINE:
            yield from self._command("learning-curve", job["id"], f"--output={path}")

    def _config_dir(self) -> Path:
        from pytest_babyai.project import find_config

        return find_config(None, [self._chosen.root])

    def _variants(self) -> Sequence[str]:
        from pytest_babyai.gateway.configuration import read_configuration

        declared = read_configuration(self._config_dir(), None, os.environ, check_credentials=False)
        return declared.variants

    def _pytest(self, step: str, options: Sequence[str]) -> Generator[str, None, int]:
        """Runs or resumes the run of a step; its output goes where ours does."""
        self.state.known_runs.setdefault(step, self._run_ids())
        self._write()
        run = self.state.run_of(step, self._run_ids())
        model = [f"--babyai-model={self._chosen.model}"] if self._chosen.model else []
        resume = [f"--babyai-resume={run}"] if run else []
        arguments = [self._chosen.evals, *options, *model, *resume]
        yield f"pytest {shlex.join(arguments)}"
        program = [sys.executable, "-m", "pytest", "--quiet", *arguments]
        code, is_interrupted = run_to_its_end(program, self._chosen.root)
        self._note_run(step)
        if is_interrupted and not code:
            raise KeyboardInterrupt  # it had just finished, and the next step is not wanted
        if code in {0, _FAILED_TESTS} and step not in self.state.runs:
            raise SettingsError(
                f"{self._chosen.evals}: the journal has no run of it; the loop needs a test that "
                "is marked with babyai, and a journal that is on"
            )
        if code:
            how = "was interrupted" if is_interrupted else f"ended with exit code {code}"
            yield f"pytest {how}; the same command goes on from here"
        return code

    def _note_run(self, step: str) -> None:
        run = self.state.run_of(step, self._run_ids())
        if run is not None:
            self.state.runs[step] = run
        else:  # what somebody plays before the command is given again is not this step's
            del self.state.known_runs[step]
        self._write()

    def _command(self, *arguments: str) -> Iterator[str]:
        from pytest_babyai.commands import run_command

        yield from run_command([*arguments, f"--root={self._chosen.root}"])

    def _parsed(self, *arguments: str) -> SimpleNamespace:
        from pytest_babyai.commands import options_of

        return options_of([*arguments, f"--root={self._chosen.root}"])

    def _run_ids(self) -> list[str]:
        from pytest_babyai.journal import list_runs

        root = journal_of(self._chosen)
        return [log.run_id for log in list_runs(root)] if root.is_dir() else []

    def _read(self) -> LearningState:
        path = self.directory / STATE_FILE
        options = {name: getattr(self._chosen, name) for name in _OPTIONS}
        state = None if self._chosen.fresh else read_state(path)
        if state is None or not state.has_begun(self._run_ids()):
            return LearningState(options)
        changed = [name for name in _OPTIONS if state.options.get(name) != options[name]]
        if changed:
            flags = ", ".join(_flag(name) for name in changed)
            raise SettingsError(
                f"{path}: this loop was started with other values of {flags}; repeat them, or "
                "begin anew with --fresh"
            )
        return state

    def _write(self) -> None:
        write_state(self.directory / STATE_FILE, self.state)


def _flag(name: str) -> str:
    return name if name == "evals" else f"--{name.replace('_', '-')}"


_OPTIONS: Final = (
    *("evals", "episodes", "evaluation_episodes", "teacher", "where", "model", "base", "epochs"),
)


@click.command("learn", help="Collect, curate, fine-tune, evaluate, report: the loop, resumable.")
@click.argument("evals", default="evals")
@click.option("--episodes", type=int, metavar="N", help="training episodes per task (default: 200)")
@click.option("--evaluation-episodes", type=int, metavar="N", help="default: as the suite says")
@click.option(
    "--teacher", default=TEACHER, metavar="VARIANT", help=f"who is learned from ({TEACHER})"
)
@click.option(
    "--where", default="progression>=1", metavar="CONDITION", help="default: progression>=1"
)
@click.option(
    "--model",
    metavar="NAME|PATH",
    help="as --babyai-model (default: the project's; offline_human in the place of offline)",
)
@click.option("--base", metavar="NAME", help="model to fine-tune; as finetune --model")
@click.option("--epochs", metavar="N", help="as finetune --epochs")
@click.option("--force", is_flag=True, help="replace a fine-tuned variant that is there")
@click.option("--fresh", is_flag=True, help="begin anew, whatever has been done before")
@root_option
@with_options
def command(chosen: SimpleNamespace) -> Generator[str, None, int]:
    """Yields the progress of the loop."""
    chosen.root = chosen.root.absolute()
    chosen.model = chosen.model or _project_model(chosen.root)
    loop = Loop(chosen)
    loop.check()
    code = yield from loop.lines()
    if not code:
        yield f"open {loop.directory / 'report.html'}"
    return code


def _project_model(root: Path) -> str:
    """Returns the project's model, and in the place of the offline one its human-like twin."""
    from pytest_babyai.project import find_config
    from pytest_babyai.settings.sources import SETTINGS_FILE, read_settings_file, resolve

    settings = resolve([read_settings_file(find_config(None, [root]) / SETTINGS_FILE)])
    return HUMAN_MODEL if settings.model in {None, "offline"} else settings.model or ""
