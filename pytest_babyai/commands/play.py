"""``play``: a person plays an episode in the terminal, and sees exactly what a model sees."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, Final

import click

from pytest_babyai.commands.options import root_option, with_options
from pytest_babyai.errors import SettingsError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from types import SimpleNamespace
    from typing import Any

    from pytest_babyai.gateway.inference import Inference, InferenceRequest
    from pytest_babyai.journal import Manifest
    from pytest_babyai.records import EpisodeResult
    from pytest_babyai.reporting.prompts import Message

HUMAN: Final = "human"
"""Name of the variant, and of the run that keeps its episodes."""

SHORT_FORMS: Final = {
    "l": "turn left",
    "r": "turn right",
    "f": "go forward",
    "p": "pick up",
    "d": "drop",
    "t": "toggle",
}
_QUIT: Final = frozenset({"q", "quit", "exit"})


@click.command("play", help="Play an episode yourself, and see what a model sees.")
@click.argument("task", metavar="TASK")
@click.option("--seed", type=int, default=200, metavar="N", help="level (default: 200)")
@click.option(
    "--variant", metavar="NAME", help="whose prompts are shown (default: the last one declared)"
)
@click.option("--save", is_flag=True, help=f"keep the episode in the run {HUMAN!r}")
@root_option
@with_options
def command(chosen: SimpleNamespace) -> Iterator[str]:
    """Yields what came of the episode."""
    yield from play(
        chosen.task, chosen.seed, variant=chosen.variant, root=chosen.root, save=chosen.save
    )


def play(  # noqa: PLR0913 - what the command offers, and the terminal
    task: str,
    seed: int,
    *,
    variant: str | None = None,
    root: Path,
    save: bool = False,
    ask: Callable[[str], str] = input,
    show: Callable[[str], None] | None = None,
) -> Iterator[str]:
    """Plays an episode with a person, and yields what came of it.

    Args:
        task: Name of the task.
        seed: Seed of the level.
        variant: Whose prompts are shown; None takes the last one declared.
        root: The project.
        save: Whether the episode is kept.
        ask: Reads an action; may raise `EOFError`.
        show: Shows a line; None prints it.

    Raises:
        UsageError: There is no such task or variant, or the episode cannot be kept.
    """
    from pytest_babyai.environment import environment_factory, resolve_task
    from pytest_babyai.playing.rollout import RolloutOptions, run_episode
    from pytest_babyai.records import EpisodeResult, EpisodeSpec

    spec = EpisodeSpec(HUMAN, resolve_task(task), seed)
    definition = _definition(root, variant)
    person = _Person(definition, ask, show or _print)
    try:
        outcome = asyncio.run(
            run_episode(
                spec,
                client=person,
                make_environment=environment_factory(),
                options=RolloutOptions(),
            )
        )
    except EOFError:
        yield "left before the end; nothing was kept"
        return
    if not isinstance(outcome, EpisodeResult):
        raise SettingsError(f"{outcome.kind} error: {outcome.message}")
    verdict = "solved" if outcome.success else "not solved"
    yield (
        f"{verdict} after {outcome.num_steps} of {outcome.max_steps} steps, "
        f"return {outcome.episode_return:.2f}"
    )
    if save:
        yield from _save(root, outcome, definition)


class _Person:
    """Answers requests by asking somebody; see `InferenceClient`."""

    def __init__(
        self,
        definition: Mapping[str, Any],
        ask: Callable[[str], str],
        show: Callable[[str], None],
    ) -> None:
        from pytest_babyai.reporting.prompts import request_renderer

        self._render = request_renderer(definition)
        self._ask = ask
        self._show = show
        self._system = ""

    async def infer(self, request: InferenceRequest, /) -> Inference:
        """Shows what a model would be sent, and reads the action."""
        from pytest_babyai.gateway.inference import Inference
        from pytest_babyai.records import NO_USAGE

        for message in self._render(request):
            self._tell(message)
        text = self._ask(f"action ({', '.join(SHORT_FORMS)}, or its name; q ends) > ").strip()
        if text.lower() in _QUIT:
            raise EOFError
        action = SHORT_FORMS.get(text.lower(), text)
        return Inference("", action, {"action": action}, NO_USAGE, 0.0)

    def _tell(self, message: Message) -> None:
        from pytest_babyai.reporting.episodes import one_line

        if message.role == "system":
            if message.text == self._system:
                return
            self._system = message.text
        self._show(f"--- {message.role} message")
        width = max(40, shutil.get_terminal_size().columns)
        for line in message.text.splitlines():
            plain = one_line(line, len(line) * 12 + 1)
            for part in textwrap.wrap(plain, width) or [""]:
                self._show(part)


def _definition(root: Path, variant: str | None) -> Mapping[str, Any]:
    from pytest_babyai.gateway.configuration import read_configuration
    from pytest_babyai.project import find_config

    config = find_config(None, [root])
    contents = read_configuration(config, None, os.environ).variant_contents
    if variant is not None and variant not in contents:
        raise SettingsError(f"unknown variant {variant!r}; {did_you_mean(variant, contents)}")
    return contents[variant or list(contents)[-1]]


def _save(root: Path, outcome: EpisodeResult, definition: Mapping[str, Any]) -> Iterator[str]:
    from pytest_babyai.journal import (
        RUNS_DIRECTORY,
        Entry,
        EpisodeKey,
        VariantDefinition,
        describe_session,
        resume_run,
    )
    from pytest_babyai.journal import Manifest as RunManifest

    runs = root / RUNS_DIRECTORY
    session = describe_session(
        settings={"model": HUMAN, "environment": "builtin", "num_dists": 0, "threshold": 1.0},
        command_line=sys.argv[1:],
        directory=root,
        num_selected=1,
    )
    manifest = RunManifest(
        model_label=HUMAN,
        offline=False,
        variants={HUMAN: VariantDefinition(HUMAN, {}, definition)},
        sessions=(session,),
        run_id=HUMAN,
    )
    _make_run(runs / HUMAN, manifest)
    spec = outcome.spec
    entry = Entry(
        key=EpisodeKey(HUMAN, HUMAN, spec.task, spec.seed),
        outcome=outcome,
        nodeid=f"play[{spec}]",
        model_label=HUMAN,
        layout_fingerprint=outcome.layout_fingerprint,
    )
    with resume_run(runs, HUMAN, manifest) as journal:
        journal.append(entry)
    yield f"kept in run {HUMAN}; see it with: python -m pytest_babyai show {HUMAN} {spec}"
    yield f"beside a run: python -m pytest_babyai report latest --beside={HUMAN} --html=report.html"


def _make_run(directory: Path, manifest: Manifest) -> None:
    """Makes the run of all human episodes, where there is none yet."""
    from pytest_babyai.journal import Scrubber

    path = directory / "manifest.json"
    if path.exists():
        return
    try:
        directory.mkdir(parents=True, exist_ok=True)
        path.write_bytes(manifest.to_json(Scrubber(os.environ)))
    except OSError as error:
        raise SettingsError(f"{error.filename or path}: {error.strerror or error}") from None


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
