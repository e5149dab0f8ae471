"""The table of settings: how each is written, read and explained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pytest_babyai.settings import amounts, values
from pytest_babyai.settings.defaults import CLICKHOUSE_VARIABLE, STORE_DIRECTORY, TEACHER

if TYPE_CHECKING:
    from collections.abc import Callable


class SettingDefinition(NamedTuple):
    """How one setting is written, read and explained.

    Attributes:
        name: Field of `Settings`; ``--babyai-<name>``, ``babyai_<name>`` and the YAML key follow.
        parse: Turns a raw value into the field's type; a ValueError says what was expected.
        metavar: Placeholder in the help.
        help: One line for the help and the README.
        marker: Whether ``@pytest.mark.babyai`` accepts it.
        ini_type: How pytest types the ini option: ``string``, ``int``, ``float``, ``args`` or
            ``linelist``.
        bare: What the option means on the command line without a value; None if it needs one.
        repeatable: Whether the option may be given several times, each time with more.
    """

    name: str
    parse: Callable[[Any], Any]
    metavar: str
    help: str
    marker: bool = False
    ini_type: Literal["string", "int", "float", "args", "linelist"] = "string"
    bare: str | None = None
    repeatable: bool = False

    @property
    def expected(self) -> str:
        """What a value has to be, as error lines say it."""
        try:
            self.parse(None)
        except ValueError as error:
            return str(error)
        return "any value"

    @property
    def flag(self) -> str:
        """The command-line option."""
        return "--babyai-" + self.name.replace("_", "-").removesuffix("-s")

    @property
    def ini(self) -> str:
        """The ini option."""
        return f"babyai_{self.name}".removesuffix("_s")

    @property
    def key(self) -> str:
        """The YAML key and marker argument."""
        return self.name.removesuffix("_s")


DEFINITIONS: tuple[SettingDefinition, ...] = (
    SettingDefinition(
        "variants",
        values.names,
        "NAMES",
        "variants to play (default: all)",
        marker=True,
        ini_type="args",
    ),
    SettingDefinition(
        "tasks",
        values.names,
        "NAMES",
        "BabyAI tasks to play (default: all five)",
        marker=True,
        ini_type="args",
    ),
    SettingDefinition(
        "episodes",
        values.whole_number(1),
        "N",
        "episodes per variant and task (default: 20)",
        marker=True,
        ini_type="int",
    ),
    SettingDefinition(
        "seed",
        values.whole_number(0),
        "N",
        "first seed (default: 200)",
        marker=True,
        ini_type="int",
    ),
    SettingDefinition(
        "seeds",
        values.seeds,
        "SEEDS",
        "exactly these seeds, such as 200-219,300",
        marker=True,
        ini_type="args",
    ),
    SettingDefinition(
        "threshold",
        values.number(0, 1),
        "P",
        "progression an episode has to reach (default: 1.0)",
        marker=True,
        ini_type="float",
    ),
    SettingDefinition(
        "history_length",
        values.whole_number(0),
        "N",
        "past steps that variants with history see (default: 8)",
        marker=True,
        ini_type="int",
    ),
    SettingDefinition(
        "gate",
        values.one_of("episodes", "aggregate"),
        "GATE",
        "what fails the run: 'episodes' below their threshold (default), 'aggregate': errors only",
        marker=True,
    ),
    SettingDefinition(
        "model",
        values.text,
        "NAME|PATH",
        "model file: offline (default), openai, compatible, or a TOML file",
    ),
    SettingDefinition(
        "config",
        values.path,
        "DIR",
        "configuration directory (default: ./config, else the packaged one)",
    ),
    SettingDefinition(
        "gateway_url", values.url, "URL", "a running TensorZero gateway (default: embedded)"
    ),
    SettingDefinition(
        "concurrency",
        amounts.concurrency,
        "N|auto",
        "requests in flight at most (default: 50); auto finds what the provider bears",
    ),
    SettingDefinition(
        "timeout_s",
        values.number(0, above=True),
        "SECONDS",
        "time limit of one request (default: 60)",
        ini_type="float",
    ),
    SettingDefinition(
        "max_attempts",
        values.whole_number(1),
        "N",
        "tries of a request before its episode is an error (default: 5)",
        ini_type="int",
    ),
    SettingDefinition(
        "on_error",
        values.one_of("raise", "fallback"),
        "WHAT",
        "after the last try: 'raise' (default), or 'fallback' to a random legal action",
    ),
    SettingDefinition(
        "environment",
        values.one_of("builtin", "balrog"),
        "NAME",
        "'builtin' (default), or 'balrog' if it is installed",
    ),
    SettingDefinition(
        "num_dists",
        values.whole_number(0),
        "N",
        "distractor objects added to every level (default: 0)",
        marker=True,
        ini_type="int",
    ),
    SettingDefinition(
        "details",
        values.whole_number(0),
        "N",
        "failed episodes and errors printed in full (default: 3)",
        ini_type="int",
    ),
    SettingDefinition(
        "repeats",
        values.whole_number(1),
        "N",
        "plays of every episode, each with another seed for the model (default: 1)",
        marker=True,
        ini_type="int",
    ),
    SettingDefinition(
        "journal",
        values.one_of("on", "off"),
        "on|off",
        "keep every finished episode in .babyai/runs (default: on)",
    ),
    SettingDefinition(
        "trajectories",
        values.one_of("on", "off"),
        "on|off",
        "keep every step of an episode in the journal (default: on)",
    ),
    SettingDefinition(
        "resume",
        values.text,
        "RUN",
        "go on with a run of the journal, by default the latest; play only what it lacks",
        bare="latest",
    ),
    SettingDefinition(
        "episode_timeout_s",
        amounts.duration_s,
        "TIME",
        "time limit of one episode, such as 90s or 10m; one that takes longer is an error",
    ),
    SettingDefinition(
        "max_errors",
        amounts.error_limit,
        "N|P%",
        "errors after which nothing more is started, such as 7 or 5%",
    ),
    SettingDefinition(
        "max_tokens",
        amounts.token_count,
        "N",
        "tokens after which nothing more is started, such as 1.5M",
    ),
    SettingDefinition(
        "max_cost",
        amounts.dollars,
        "USD",
        "US dollars after which nothing more is started",
    ),
    SettingDefinition(
        "max_time_s",
        amounts.duration_s,
        "TIME",
        "time after which nothing more is started, such as 2h30m",
    ),
    SettingDefinition(
        "plan",
        values.one_of("on", "off"),
        "on|off",
        "play nothing; tell what would be played, what it would take and what it can show",
        bare="on",
    ),
    SettingDefinition(
        "fail",
        values.rules,
        "RULE",
        "a gate, such as 'success>=0.8' or 'progression<-0.05@95%'; may be repeated",
        marker=True,
        ini_type="linelist",
        repeatable=True,
    ),
    SettingDefinition(
        "compare",
        values.text,
        "NAME|PATH",
        "a baseline: the run is compared with it, and changes in gates refer to it",
    ),
    SettingDefinition(
        "reference",
        values.text,
        "VARIANT",
        "the variant that others are compared with (default: the first)",
        marker=True,
    ),
    SettingDefinition(
        "margin",
        values.number(0, 1),
        "P",
        "difference in success, progression or return that does not matter (default: 0.05)",
        ini_type="float",
    ),
    SettingDefinition(
        "primary",
        values.one_of("success", "progression", "return", "efficiency", "steps"),
        "METRIC",
        "the metric whose verdicts count (default: success); those of others are exploratory",
    ),
    SettingDefinition(
        "inconclusive",
        values.one_of("pass", "skip", "fail"),
        "pass|skip|fail",
        "what becomes of a gate that is neither surely bad nor surely good (default: skip)",
    ),
    SettingDefinition(
        "references",
        values.names,
        "NAMES",
        "shown beside the variants without asking a model: 'expert', 'random', or both",
    ),
    SettingDefinition(
        "save",
        values.text,
        "NAME|PATH",
        "bless the run: write it as a baseline, meant to be committed",
    ),
    SettingDefinition(
        "save_errors",
        values.one_of("on", "off"),
        "on|off",
        "bless a run although some of its episodes are errors (default: off)",
        bare="on",
    ),
    SettingDefinition(
        "until",
        values.text_or_number,
        "±P",
        "stop a variant when its success is known this well, such as '±0.05' or "
        "'progression±0.05@90%'",
    ),
    SettingDefinition(
        "decide",
        values.one_of("on", "off"),
        "on|off",
        "stop a variant as soon as its gates and comparisons are decided (default: off)",
        bare="on",
    ),
    SettingDefinition(
        "html", values.path, "FILE", "write a report with charts and replays, one file for offline"
    ),
    SettingDefinition("md", values.path, "FILE", "write a report in GitHub's Markdown"),
    SettingDefinition("csv", values.path, "FILE", "write a row per episode as CSV"),
    SettingDefinition("parquet", values.path, "FILE", "write a row per episode as Parquet"),
    SettingDefinition("charts", values.path, "DIR", "write the charts as SVG and PNG files"),
    SettingDefinition(
        "store",
        values.text,
        "DIR",
        f"keep inferences in an embedded ClickHouse, by default in {STORE_DIRECTORY}",
        bare=STORE_DIRECTORY,
    ),
    SettingDefinition(
        "clickhouse_url",
        values.text,
        "URL",
        f"keep inferences in this ClickHouse (default: ${CLICKHOUSE_VARIABLE})",
    ),
    SettingDefinition(
        "record",
        values.one_of("on", "off"),
        "on|off",
        "tell the store each episode's return and progression, as feedback (default: off)",
        bare="on",
    ),
    SettingDefinition(
        "cache",
        values.one_of("on", "off", "read_only", "write_only"),
        "MODE",
        "answers from the store's cache: on, off (default), read_only or write_only",
        bare="on",
    ),
    SettingDefinition(
        "collect",
        values.one_of("on", "off"),
        "on|off",
        f"collect experience: play {TEACHER} on the training seeds 0-199, and record it",
        bare="on",
    ),
)
