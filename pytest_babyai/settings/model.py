"""The table of settings: every field of `Settings` says how it is written, read and explained."""
# ruff: noqa: RUF009 - `_setting` makes a dataclass field

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pytest_babyai.settings import amounts, values
from pytest_babyai.settings.defaults import CLICKHOUSE_VARIABLE, STORE_DIRECTORY, TEACHER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_babyai.settings.amounts import ErrorLimit
    from pytest_babyai.settings.values import Shard


def _setting(
    default: Any, parse: Callable[[Any], Any], metavar: str, explanation: str, **more: Any
) -> Any:
    """Declares a field; ``more`` are the optional attributes of `SettingDefinition`."""
    written = {"parse": parse, "metavar": metavar, "help": explanation, **more}
    return field(default=default, metadata=written)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a run is told. The help of a field says what it means; None is "not given"."""

    variants: tuple[str, ...] | None = _setting(
        None,
        values.names,
        "NAMES",
        "variants to play (default: all)",
        marker=True,
        ini_type="args",
    )
    tasks: tuple[str, ...] | None = _setting(
        None,
        values.names,
        "NAMES",
        "BabyAI tasks to play (default: all five)",
        marker=True,
        ini_type="args",
    )
    episodes: int = _setting(
        20,
        values.whole_number(1, values.MAX_SEEDS),
        "N",
        "episodes per variant and task (default: 20)",
        marker=True,
        ini_type="int",
    )
    seed: int = _setting(
        200,
        values.whole_number(0, values.MAX_SEED),
        "N",
        "first seed (default: 200)",
        marker=True,
        ini_type="int",
    )
    seeds: tuple[int, ...] | None = _setting(
        None,
        values.seeds,
        "SEEDS",
        "exactly these seeds, such as 200-219,300",
        marker=True,
        ini_type="args",
    )
    shard: Shard | None = _setting(
        None,
        values.shard,
        "I/N",
        "play the I-th of N parts: every N-th seed, so that pairs stay together",
    )
    threshold: float = _setting(
        1.0,
        values.number(0, 1),
        "P",
        "progression an episode has to reach (default: 1.0)",
        marker=True,
        ini_type="float",
    )
    history_length: int = _setting(
        8,
        values.whole_number(0),
        "N",
        "past steps that variants with history see (default: 8)",
        marker=True,
        ini_type="int",
    )
    gate: str = _setting(
        "episodes",
        values.one_of("episodes", "aggregate"),
        "GATE",
        "what fails the run: 'episodes' below their threshold (default), 'aggregate': errors only",
        marker=True,
    )
    model: str | None = _setting(
        None,
        values.text,
        "NAME|PATH",
        "plays all variants: offline, openai, compatible, or a TOML file (default: what they name)",
    )
    config: Path | None = _setting(
        None,
        values.path,
        "PATH",
        "configuration: directory, file or glob (default: ./config, else the packaged one)",
    )
    function: str = _setting(
        "act",
        values.text,
        "NAME",
        "TensorZero function that chooses an action (default: act)",
    )
    gateway_url: str | None = _setting(
        None, values.url, "URL", "a running TensorZero gateway (default: embedded)"
    )
    concurrency: int | Literal["auto"] = _setting(
        50,
        amounts.concurrency,
        "N|auto",
        "requests in flight at most (default: 50); auto finds what the provider bears",
    )
    timeout_s: float | None = _setting(
        None,
        values.number(0, values.MAX_TIME_S, above=True),
        "SECONDS",
        "time limit of one request (default: the model file's, else 60)",
        ini_type="float",
    )
    max_attempts: int = _setting(
        5,
        values.whole_number(1),
        "N",
        "tries of a request before its episode is an error (default: 5)",
        ini_type="int",
    )
    on_error: str = _setting(
        "raise",
        values.one_of("raise", "fallback"),
        "WHAT",
        "after the last try: 'raise' (default), or 'fallback' to a random legal action",
    )
    environment: str = _setting(
        "builtin",
        values.one_of("builtin", "balrog"),
        "NAME",
        "'builtin' (default), or 'balrog' if it is installed",
    )
    num_dists: int = _setting(
        0,
        values.whole_number(0),
        "N",
        "distractor objects added to every level (default: 0)",
        marker=True,
        ini_type="int",
    )
    details: int = _setting(
        3,
        values.whole_number(0),
        "N",
        "failed episodes and errors printed in full (default: 3)",
        ini_type="int",
    )
    repeats: int = _setting(
        1,
        values.whole_number(1),
        "N",
        "plays of every episode, each with another seed for the model (default: 1)",
        marker=True,
        ini_type="int",
    )
    journal: str = _setting(
        "on", values.switch, "on|off", "keep every finished episode in .babyai/runs (default: on)"
    )
    trajectories: str = _setting(
        "on",
        values.switch,
        "on|off",
        "keep every step of an episode in the journal (default: on)",
    )
    resume: str | None = _setting(
        None,
        values.text,
        "RUN",
        "go on with a run of the journal, by default the latest; play only what it lacks",
        bare="latest",
    )
    episode_timeout_s: float | None = _setting(
        None,
        amounts.duration_s,
        "TIME",
        "time limit of one episode, such as 90s or 10m; one that takes longer is an error",
    )
    max_errors: ErrorLimit | None = _setting(
        None,
        amounts.error_limit,
        "N|P%",
        "errors after which nothing more is started, such as 7 or 5%",
    )
    max_tokens: int | None = _setting(
        None,
        amounts.token_count,
        "N",
        "tokens after which nothing more is started, such as 1.5M",
    )
    max_cost: float | None = _setting(
        None, amounts.dollars, "USD", "US dollars after which nothing more is started"
    )
    max_time_s: float | None = _setting(
        None,
        amounts.duration_s,
        "TIME",
        "time after which nothing more is started, such as 2h30m",
    )
    plan: str = _setting(
        "off",
        values.switch,
        "on|off",
        "play nothing; tell what would be played, what it would take and what it can show",
        bare="on",
    )
    # As written, or by name of the model that the rules are meant for.
    fail: tuple[str, ...] | Mapping[str, tuple[str, ...]] = _setting(
        (),
        values.rules,
        "RULE",
        "a gate, such as 'success>=0.8' or 'progression<-0.05@95%'; may be repeated",
        marker=True,
        ini_type="linelist",
        repeatable=True,
    )
    compare: str | None = _setting(
        None,
        values.text,
        "NAME|PATH",
        "a baseline: the run is compared with it, and changes in gates refer to it",
    )
    reference: str | None = _setting(
        None,
        values.text,
        "VARIANT",
        "the variant that others are compared with (default: the first)",
        marker=True,
    )
    margin: float = _setting(
        0.05,
        values.number(0, 1),
        "P",
        "difference in success, progression or return that does not matter (default: 0.05)",
        ini_type="float",
    )
    primary: str = _setting(
        "success",
        values.one_of("success", "progression", "return", "efficiency", "steps"),
        "METRIC",
        "the metric whose verdicts count (default: success); those of others are exploratory",
    )
    inconclusive: str = _setting(
        "skip",
        values.one_of("pass", "skip", "fail"),
        "pass|skip|fail",
        "what becomes of a gate that is neither surely bad nor surely good (default: skip)",
    )
    references: tuple[str, ...] | None = _setting(
        None,
        values.names,
        "NAMES",
        "shown beside the variants without asking a model: 'expert', 'random', or both",
    )
    save: str | None = _setting(
        None,
        values.text,
        "NAME|PATH",
        "bless the run: write it as a baseline, meant to be committed",
    )
    save_errors: str = _setting(
        "off",
        values.switch,
        "on|off",
        "bless a run although some of its episodes are errors (default: off)",
        bare="on",
    )
    until: str | None = _setting(
        None,
        values.text_or_number,
        "±P",
        "stop a variant when its success is known this well, such as '±0.05' or "
        "'progression±0.05@90%'",
    )
    decide: str = _setting(
        "off",
        values.switch,
        "on|off",
        "stop a variant as soon as its gates and comparisons are decided (default: off)",
        bare="on",
    )
    html: Path | None = _setting(
        None, values.path, "FILE", "write a report with charts and replays, one file for offline"
    )
    md: Path | None = _setting(None, values.path, "FILE", "write a report in GitHub's Markdown")
    csv: Path | None = _setting(None, values.path, "FILE", "write a row per episode as CSV")
    parquet: Path | None = _setting(None, values.path, "FILE", "write a row per episode as Parquet")
    charts: Path | None = _setting(
        None, values.path, "DIR", "write the charts as SVG and PNG files"
    )
    store: str | None = _setting(
        None,
        values.text,
        "DIR",
        f"keep inferences in an embedded ClickHouse, by default in {STORE_DIRECTORY}",
        bare=STORE_DIRECTORY,
    )
    clickhouse_url: str | None = _setting(
        None,
        values.text,
        "URL",
        f"keep inferences in this ClickHouse (default: ${CLICKHOUSE_VARIABLE})",
    )
    record: str = _setting(
        "off",
        values.switch,
        "on|off",
        "tell the store each episode's return and progression, as feedback (default: off)",
        bare="on",
    )
    cache: str = _setting(
        "off",
        values.one_of("on", "off", "read_only", "write_only"),
        "MODE",
        "answers from the store's cache: on, off (default), read_only or write_only",
        bare="on",
    )
    collect: str = _setting(
        "off",
        values.switch,
        "on|off",
        f"collect experience: play {TEACHER} on the training seeds 0-199, and record it",
        bare="on",
    )

    @property
    def played_seeds(self) -> tuple[int, ...]:
        """The seeds of every variant and task; of a shard, which may have none, in order."""
        seeds = self.seeds
        if seeds is None:
            seeds = tuple(range(self.seed, self.seed + self.episodes))
        if self.shard is None:
            return seeds
        return tuple(sorted(seeds)[self.shard.part - 1 :: self.shard.num_parts])

    @property
    def rules(self) -> tuple[str, ...]:
        """The rules of gates that are meant for the model."""
        return self.fail if isinstance(self.fail, tuple) else self.fail.get(self.model or "", ())

    def as_plain(self) -> dict[str, Any]:
        """Returns the settings as JSON types, for a report or a manifest."""
        return {each.name: _plain(getattr(self, each.name)) for each in dataclasses.fields(self)}


def _plain(value: Any) -> Any:
    if isinstance(value, Path) or hasattr(value, "_fields"):
        return str(value)  # paths, shards and error limits as they are given
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return list(value) if isinstance(value, tuple) else value
