"""The HTML report: one file with charts, tables and replays that opens offline.

Nothing in it can load anything: its content security policy forbids every request and every script
and style but its own two, named by their hashes. Numbers, charts and tables of variants are plain
HTML; the script adds sorting, filters and replays from data packed by `replays.pack`.
"""

from __future__ import annotations

import base64
import collections
import hashlib
import html
import importlib.resources
import string
from typing import TYPE_CHECKING, Any, Final

from pytest_babyai.errors import SettingsError
from pytest_babyai.records import EpisodeResult
from pytest_babyai.reporting import html_sections
from pytest_babyai.reporting.comparison import compare_variants
from pytest_babyai.reporting.recorded import NO_PROVENANCE
from pytest_babyai.reporting.replays import pack, scene_name, scenes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from pytest_babyai.gate import Comparison, GateResult
    from pytest_babyai.reporting.recorded import Provenance
    from pytest_babyai.reporting.replays import ReplayEnvironment
    from pytest_babyai.reporting.results import EpisodeReport, RunReport

_SCRIPTS: Final = (
    *("dom.js", "data.js", "theme.js", "charts.js"),
    *("world.js", "drawing.js", "player.js", "pane.js", "episodes.js", "main.js"),
)


def html_report(
    report: RunReport,
    *,
    provenance: Provenance = NO_PROVENANCE,
    comparisons: Sequence[Comparison] | None = None,
    gates: Sequence[GateResult] = (),
    make_environment: Callable[[EpisodeReport], ReplayEnvironment] | None = None,
) -> str:
    """Returns the report as the text of one HTML file.

    Args:
        report: The run; replays are there for those episodes that still have their steps.
        provenance: Where its numbers come from.
        comparisons: What variants are compared with; None compares all with the first variant.
        gates: What its rules came to.
        make_environment: Makes the environment of an episode, so that grids can be drawn; None
            leaves them out.

    Raises:
        SettingsError: A library for charts is not installed.
    """
    if comparisons is None:
        comparisons = [found] if (found := compare_variants(report)) else []
    keys = episode_keys(report.episodes)
    style, script = _resource("report.css") + _resource("replay.css"), _script()
    data = [_data_element("index", pack(_index(report, keys)))]
    for name, scene in scenes(keys, make_environment).items():
        data.append(_data_element(f"scene-{name}", pack(scene)))
    return string.Template(_resource("report.html")).substitute(
        policy=_content_security_policy(script, style),
        style=style,
        script=script,
        data="\n".join(data),
        **html_sections.sections(report, provenance, comparisons, gates),
    )


def write_html_report(path: Path, report: RunReport, **options: Any) -> None:
    """Writes `html_report` to a file; takes the same arguments.

    Raises:
        SettingsError: The file cannot be written, or a library for charts is not installed.
    """
    text = html_report(report, **options)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        raise SettingsError(f"{error.filename or path}: {error.strerror or error}") from None


def episode_keys(episodes: Sequence[EpisodeReport]) -> dict[str, EpisodeReport]:
    """Names every episode for links: ``history-goto-204``, repeated ``history-goto-204-1``."""
    seen: collections.Counter[str] = collections.Counter()
    keys: dict[str, EpisodeReport] = {}
    for episode in sorted(episodes, key=lambda episode: (episode.spec, episode.nodeid)):
        name = str(episode.spec)
        keys[f"{name}-{seen[name]}" if seen[name] else name] = episode
        seen[name] += 1
    return keys


def outcome_name(report: EpisodeReport) -> str:
    """Says what came of an episode: ``passed``, ``failed`` or ``error``."""
    if not isinstance(report.outcome, EpisodeResult):
        return "error"
    return "failed" if report.below_threshold else "passed"


def _index(report: RunReport, keys: Mapping[str, EpisodeReport]) -> dict[str, Any]:
    return {
        "variants": report.variants,
        "tasks": report.tasks,
        "episodes": [_index_entry(key, episode) for key, episode in keys.items()],
    }


def _index_entry(key: str, report: EpisodeReport) -> dict[str, Any]:
    outcome = report.outcome
    entry = {
        "key": key,
        "variant": report.spec.variant,
        "task": report.spec.task,
        "seed": report.spec.seed,
        "outcome": outcome_name(report),
        "steps": outcome.num_steps,
        "input_tokens": outcome.usage.input_tokens,
        "output_tokens": outcome.usage.output_tokens,
        "retries": outcome.num_retries,
        "duration_s": round(outcome.duration_s, 3),
        "episode_id": outcome.episode_id,
        "command": report.replay,
        "scene": scene_name(report) if outcome.steps else None,
    }
    if isinstance(outcome, EpisodeResult):
        return {
            **entry,
            "mission": outcome.mission,
            "max_steps": outcome.max_steps,
            "progression": outcome.progression,
            "threshold": report.threshold,
            "return": outcome.episode_return,
            "invalid": len(outcome.failed_candidates),
            "fallbacks": outcome.num_fallbacks,
        }
    return {**entry, "kind": outcome.kind, "message": outcome.message}


def _data_element(name: str, packed: str) -> str:
    quoted = html.escape(name)
    return f'<script type="application/octet-stream" data-name="{quoted}">{packed}</script>'


def _script() -> str:
    parts = "\n".join(_resource(name) for name in _SCRIPTS)
    return f'"use strict";\n(() => {{\n{parts}\n}})();'


def _content_security_policy(script: str, style: str) -> str:
    sources = {"script-src": script, "style-src": style}
    hashes = [f"{name} 'sha256-{_digest(text)}'" for name, text in sources.items()]
    return "; ".join(["default-src 'none'", *hashes, "base-uri 'none'", "form-action 'none'"])


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _resource(name: str) -> str:
    directory = importlib.resources.files("pytest_babyai.reporting") / "template"
    return (directory / name).read_text(encoding="utf-8")
