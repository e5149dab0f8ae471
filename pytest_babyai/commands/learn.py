"""``learn``: the whole loop. An agent plays, learns from its successes, and is evaluated again.

Every step is one of the other commands, and could be typed by itself. What has been done is kept in
``.babyai/learn/state.json``; whatever ends the command, the same command goes on.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
import shutil
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import click

from pytest_babyai.commands.dataset import make_dataset
from pytest_babyai.commands.finetune import FineTuneOptions, fine_tune
from pytest_babyai.commands.foreground import run_to_its_end
from pytest_babyai.commands.learning import Curation
from pytest_babyai.commands.options import root_option, with_options
from pytest_babyai.errors import SettingsError, UsageError
from pytest_babyai.settings.defaults import TEACHER

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Sequence
    from pathlib import Path
    from types import SimpleNamespace

    from pytest_babyai.gateway.configuration import GatewayConfiguration

    Step = Callable[[], Generator[str, None, int]]

DIRECTORY: Final = ".babyai/learn"
"""Where state, training data and reports are kept, below the project's root."""
STATE_FILE: Final = "state.json"
CARELESS_MODEL: Final = "offline_careless"
MIN_FREE_BYTES: Final = 500 * 10**6
QUICK: Final = {"episodes": 60, "evaluation_episodes": 5, "epochs": "4"}
"""What ``--quick`` plays and trains where nothing else is said."""

_FAILED_TESTS: Final = 1
_EXPECTED_S: Final = {
    False: {"collect": 150, "curate": 20, "fine-tune": 600, "evaluate": 420, "report": 30},
    True: {"collect": 50, "curate": 10, "fine-tune": 130, "evaluate": 110, "report": 20},
}
"""Seconds of each step on two cores, whole and quick; only their proportions matter in the end."""
_EXTRAS: Final = {
    "report": {"altair": "altair", "vl_convert": "vl-convert-python"},
    "finetune": {"torch": "torch", "python_multipart": "python-multipart"},
}


@dataclass(frozen=True)
class LearnOptions:
    """What the loop does; other values are another loop, except for those of `_FREE`.

    Attributes:
        evals: The suite.
        episodes: Training episodes per task; None for what ``--babyai-collect`` plays.
        evaluation_episodes: Evaluation episodes per task; None for what the suite says.
        teacher: The variant that is learned from.
        where: The condition that an episode to learn from has to meet.
        model: The model that plays, as ``--babyai-model``; None for the project's.
        base: The model to fine-tune; None for the offline one.
        epochs: Passes over the data; None leaves them to the provider.
        quick: Whether the collection is a smaller one.
        yes: Start a job that costs money without being asked.
        force: Replace a fine-tuned variant that is there.
    """

    evals: str = "evals"
    episodes: int | None = None
    evaluation_episodes: int | None = None
    teacher: str = TEACHER
    where: str = "progression>=1"
    model: str | None = None
    base: str | None = None
    epochs: str | None = None
    quick: bool = False
    yes: bool = False
    force: bool = False

    def scaled(self) -> LearnOptions:
        """Returns the options with those of ``--quick`` where nothing else was said."""
        missing = {name: value for name, value in QUICK.items() if getattr(self, name) is None}
        return dataclasses.replace(self, **missing) if self.quick else self  # type: ignore[arg-type]

    def identity(self) -> dict[str, Any]:
        """Returns the options that have to be the same for a loop to go on."""
        return {k: v for k, v in dataclasses.asdict(self).items() if k not in _FREE}


_FREE: Final = {"yes", "force"}


@click.command("learn", help="Collect, curate, fine-tune, evaluate, report: the loop, resumable.")
@click.argument("evals", default="evals")
@click.option(
    "--quick",
    is_flag=True,
    help=f"a smaller loop of some five minutes: {QUICK['episodes']} training and "
    f"{QUICK['evaluation_episodes']} evaluation episodes a task",
)
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
    help=f"as --babyai-model (default: the project's; {CARELESS_MODEL} in place of offline)",
)
@click.option("--base", metavar="NAME", help="model to fine-tune; as finetune --model")
@click.option("--epochs", metavar="N", help="as finetune --epochs")
@click.option("--yes", is_flag=True, help="start a job that costs money without being asked")
@click.option("--force", is_flag=True, help="replace a fine-tuned variant that is there")
@click.option("--fresh", is_flag=True, help="begin anew, whatever has been done before")
@root_option
@with_options
def command(chosen: SimpleNamespace) -> Generator[str, None, int]:
    """Yields the progress; returns the exit code."""
    names = [item.name for item in dataclasses.fields(LearnOptions)]
    options = LearnOptions(**{name: getattr(chosen, name) for name in names})
    return (yield from learn(options, chosen.root, fresh=chosen.fresh))


def learn(options: LearnOptions, root: Path, *, fresh: bool = False) -> Generator[str, None, int]:
    """Runs the loop, or goes on with it, and yields its progress.

    Args:
        options: What it does.
        root: The project's root.
        fresh: Begin anew, whatever has been done before.

    Returns:
        The exit code.

    Raises:
        UsageError: Something that a step needs is missing or wrong.
    """
    root = root.absolute()
    model = options.model or _project_model(root)
    loop = Loop(dataclasses.replace(options, model=model).scaled(), root, fresh=fresh)
    loop.check()
    if options.quick:
        yield (
            f"--quick: {loop.options.episodes} training and {loop.options.evaluation_episodes} "
            f"evaluation episodes a task, {loop.options.epochs} epochs: shows that the loop works, "
            "and proves nothing about the student"
        )
    code = yield from loop.lines()
    if not code:
        yield f"open {loop.directory / 'report.html'}"
    return code


def _project_model(root: Path) -> str:
    """Returns the project's model, and in the place of the offline one its careless twin."""
    from pytest_babyai.project import find_config
    from pytest_babyai.settings.sources import SETTINGS_FILE, read_settings_file, resolve

    settings = resolve([read_settings_file(find_config(None, [root]) / SETTINGS_FILE)])
    return CARELESS_MODEL if settings.model in (None, "offline") else str(settings.model)


@dataclass
class LearningState:
    """How far the loop is.

    Attributes:
        options: What it was started with; other options are another loop.
        known_runs: Runs of the journal before a step by name of the step, so that the one that it
            makes is known even if nobody lives to note it.
        runs: Run by name of the step, once it has one.
        done: Steps that are finished.
    """

    options: dict[str, Any]
    known_runs: dict[str, list[str]] = field(default_factory=dict)
    runs: dict[str, str] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)

    def run_of(self, step: str, runs: Collection[str]) -> str | None:
        """Returns the run of a step, None while it has none.

        Args:
            step: Name of the step.
            runs: Runs of the journal, oldest first.
        """
        if step in self.runs:
            return self.runs[step]
        known = self.known_runs.get(step)
        # The first that was not there before: others may have been played since.
        return None if known is None else next((run for run in runs if run not in known), None)

    def has_begun(self, runs: Collection[str]) -> bool:
        """Whether anything was played, or only refused.

        Args:
            runs: As `run_of` takes them.
        """
        return bool(self.done) or any(self.run_of(step, runs) for step in self.known_runs)

    @classmethod
    def read(cls, path: Path) -> LearningState | None:
        """Reads what `write` wrote; None where there is no file.

        Raises:
            SettingsError: It is damaged.
        """
        if not path.is_file():
            return None
        try:
            state = cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            state = None
        if state is None or [type(part) for part in vars(state).values()] != [
            *(dict, dict, dict, list)
        ]:
            raise SettingsError(f"{path}: damaged; --fresh begins anew")
        return state

    def write(self, path: Path) -> None:
        """Writes the state in the place of an earlier one.

        Raises:
            SettingsError: It cannot be written.
        """
        from pytest_babyai.journal.files import replace_file

        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, json.dumps(dataclasses.asdict(self), indent=1).encode())
        except OSError as error:
            raise SettingsError(f"{error.filename or path}: {error.strerror or error}") from None


class Loop:
    """The five steps of a project's loop.

    Args:
        options: What it does.
        root: The project's root, absolute.
        fresh: Begin anew, whatever has been done before.

    Raises:
        SettingsError: The loop was started with other options.
    """

    def __init__(self, options: LearnOptions, root: Path, *, fresh: bool = False) -> None:
        self.options = options
        self.directory: Path = root / DIRECTORY
        self._root = root
        self._steps: dict[str, Step] = {
            "collect": self._collect,
            "curate": self._curate,
            "fine-tune": self._fine_tune,
            "evaluate": self._evaluate,
            "report": self._report,
        }
        self.state = self._read(fresh=fresh)

    @property
    def data(self) -> Path:
        """The training data."""
        return self.directory / "data.jsonl"

    def check(self) -> None:
        """Refuses what a later step would refuse, before the first one is begun.

        Raises:
            UsageError: An option is wrong, or an extra, a key, space or a right is missing.
        """
        from pytest_babyai.finetuning.openai import OFFLINE, OPENAI, opened, provider_of

        if "fine-tune" in self.state.done:
            return
        self._curation().check()
        tuning = self._tuning()
        fine_tuning = tuning.fine_tuning()
        tuning.settled()
        try:
            base = tuning.base_model()
            provider = provider_of(base)
            if provider == OPENAI:
                with fine_tuning.open_provider(OPENAI) as reached, opened(reached) as api:
                    api.check_model(base)
        except UsageError as error:
            raise type(error)(f"--base, the --model of finetune: {error}") from None
        if provider == OPENAI and not (self.options.yes or sys.stdin.isatty()):
            raise SettingsError(
                f"fine-tuning {base} costs money, and there is no terminal to ask on; give --yes"
            )
        _check_extras("report", *(["finetune"] if provider == OFFLINE else []))
        self._check_teacher(fine_tuning.configuration)
        self._check_places()

    def _check_teacher(self, configuration: GatewayConfiguration) -> None:
        from pytest_babyai.errors import did_you_mean

        if self.options.teacher not in configuration.variants:
            hint = did_you_mean(self.options.teacher, configuration.variants)
            raise SettingsError(f"--teacher: no variant {self.options.teacher!r}; {hint}")

    def _check_places(self) -> None:
        from pytest_babyai.finetuning.job_records import JobStore, ignore_in_git
        from pytest_babyai.finetuning.variant import TunedVariantFiles

        files = TunedVariantFiles(self._curation().config_dir())
        files.check_free(force=self.options.force or bool(self.state.done))
        try:
            ignore_in_git(self._root)
            JobStore(self._root).prepare()
        except OSError as error:
            raise SettingsError(f"{error.filename}: {error.strerror or error}") from None
        free = shutil.disk_usage(self._root).free
        if free < MIN_FREE_BYTES:
            raise SettingsError(
                f"{self._root}: {free / 1e6:,.0f} MB free, and the loop needs "
                f"{MIN_FREE_BYTES / 1e6:,.0f} MB for episodes, data, model and reports"
            )

    def lines(self) -> Generator[str, None, int]:
        """Yields the progress; returns the exit code."""
        clock = _Clock([name for name in self._steps if name not in self.state.done], self.options)
        for number, (name, step) in enumerate(self._steps.items(), 1):
            title = f"== {number}/{len(self._steps)} {name}"
            if name in self.state.done:
                yield f"{title}: done before"
                continue
            yield f"{title} ({clock.left()})"
            code: int = yield from step()
            if code:
                return code
            clock.finish(name)
            self.state.done.append(name)
            self._write()
        return 0

    def _curation(self) -> Curation:
        return Curation(self._root, where=[self.options.where], variant=self.options.teacher)

    def _tuning(self) -> FineTuneOptions:
        options = self.options
        return FineTuneOptions(
            Curation(self._root),
            model=options.base,
            hyperparameters={"n_epochs": options.epochs},
            yes=options.yes,
            force=options.force,
        )

    def _collect(self) -> Generator[str, None, int]:
        options = ["--babyai-collect", f"--babyai-variants={self.options.teacher}"]
        if self.options.episodes is not None:
            options.append(f"--babyai-episodes={self.options.episodes}")
        return (yield from self._pytest("collect", options))

    def _curate(self) -> Generator[str, None, int]:
        run = self.state.runs["collect"]
        yield from make_dataset(self._curation(), run, self.data, force=True)
        return 0

    def _fine_tune(self) -> Generator[str, None, int]:
        yield from fine_tune(self._tuning(), str(self.data))
        return 0

    def _evaluate(self) -> Generator[str, None, int]:
        from pytest_babyai.finetuning.variant import VARIANT_SUFFIX

        teacher = self.options.teacher
        configuration = self._tuning().fine_tuning().configuration
        names = [*configuration.variants, teacher, f"{teacher}{VARIANT_SUFFIX}"]
        variants = ",".join(dict.fromkeys(names))
        options = [f"--babyai-variants={variants}", f"--babyai-reference={teacher}"]
        if self.options.evaluation_episodes is not None:
            options.append(f"--babyai-episodes={self.options.evaluation_episodes}")
        code = yield from self._pytest("evaluate", options)
        if code == _FAILED_TESTS:
            yield "the evaluation has failed tests or errors; its report is written all the same"
            yield from self._report()
        return code

    def _report(self) -> Generator[str, None, int]:
        from pytest_babyai.commands.learning_report import write_learning_report

        yield from write_learning_report(
            self._root,
            self.state.runs["evaluate"],
            self.directory,
            manifest=self._manifest(),
            config_dir=self._curation().config_dir(),
        )
        return 0

    def _manifest(self) -> dict[str, Any]:
        from pytest_babyai.finetuning.variant import TunedVariantFiles

        return TunedVariantFiles(self._curation().config_dir()).read_manifest()

    def _pytest(self, step: str, options: Sequence[str]) -> Generator[str, None, int]:
        """Runs or resumes the run of a step; its output goes where ours does."""
        self.state.known_runs.setdefault(step, self._run_ids())
        self._write()
        run = self.state.run_of(step, self._run_ids())
        resume = [f"--babyai-resume={run}"] if run else []
        model = f"--babyai-model={self.options.model}"
        arguments = [self.options.evals, *options, model, *resume]
        yield f"pytest {shlex.join(arguments)}"
        program = [sys.executable, "-m", "pytest", "--quiet", *arguments]
        code, is_interrupted = run_to_its_end(program, self._root)
        self._note_run(step)
        if is_interrupted and not code:
            raise KeyboardInterrupt  # it had just finished, and the next step is not wanted
        if code in {0, _FAILED_TESTS} and step not in self.state.runs:
            raise SettingsError(
                f"{self.options.evals}: the journal has no run of it; the loop needs a test that "
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

    def _run_ids(self) -> list[str]:
        from pytest_babyai.journal import RUNS_DIRECTORY, list_runs

        runs = self._root / RUNS_DIRECTORY
        return [log.run_id for log in list_runs(runs)] if runs.is_dir() else []

    def _read(self, *, fresh: bool) -> LearningState:
        path = self.directory / STATE_FILE
        options = self.options.identity()
        state = None if fresh else LearningState.read(path)
        if state is None or not state.has_begun(self._run_ids()):
            return LearningState(options)
        changed = [name for name in options if state.options.get(name) != options[name]]
        if changed:
            flags = ", ".join(
                name if name == "evals" else f"--{name.replace('_', '-')}" for name in changed
            )
            raise SettingsError(
                f"{path}: this loop was started with other values of {flags}; repeat them, or "
                "begin anew with --fresh"
            )
        return state

    def _write(self) -> None:
        self.state.write(self.directory / STATE_FILE)


def _check_extras(*extras: str) -> None:
    import importlib.util

    for extra in extras:
        modules = _EXTRAS[extra]
        missing = [d for module, d in modules.items() if importlib.util.find_spec(module) is None]
        if missing:
            raise SettingsError(
                f"the loop needs {', '.join(missing)}: pip install 'pytest-babyai[{extra}]'"
            )


class _Clock:
    """Says how long the steps that are left may take, by how long the others took."""

    def __init__(self, steps: Sequence[str], options: LearnOptions) -> None:
        self._expected_s = {name: _EXPECTED_S[options.quick][name] for name in steps}
        self._scale = 1.0
        self._finished_s = 0.0
        self._step_began_s = self._began_s = time.monotonic()

    def finish(self, name: str) -> None:
        """Notes the end of a step."""
        now_s = time.monotonic()
        self._finished_s += self._expected_s.pop(name)
        self._scale = max((now_s - self._began_s) / self._finished_s, 0.01)
        self._step_began_s = now_s

    def left(self) -> str:
        """Returns the time that has gone, and about how much is left."""
        gone_s = time.monotonic() - self._began_s
        left_s = self._scale * sum(self._expected_s.values())
        return f"{_minutes(gone_s)} gone, about {_minutes(left_s)} left"


def _minutes(seconds: float) -> str:
    return f"{round(seconds)} s" if seconds < 100 else f"{round(seconds / 60)} min"  # noqa: PLR2004
