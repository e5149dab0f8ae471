"""The fine-tuned model and its variant as configuration, and the manifest of its training."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_babyai.errors import ConfigurationError, SettingsError
from pytest_babyai.finetuning.failures import DatasetError, FineTuningError
from pytest_babyai.finetuning.leakage import TrainingRecord, check_unseen, layouts_of
from pytest_babyai.gateway.configuration import (
    ACT_FUNCTION,
    CONFIGURATION_FILE,
    FINE_TUNED_MODEL,
)
from pytest_babyai.gateway.toml_files import TomlFile, read_toml, tables, to_toml
from pytest_babyai.journal import installed_versions
from pytest_babyai.journal.files import replace_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pytest_babyai.environment import Environment
    from pytest_babyai.finetuning.card import DataCard
    from pytest_babyai.finetuning.job_records import JobRecord
    from pytest_babyai.gateway.configuration import GatewayConfiguration
    from pytest_babyai.gateway.toml_files import Tree
    from pytest_babyai.records import EpisodeSpec

SCHEMA: Final = 1
VARIANT_SUFFIX: Final = "_sft"

_NAME = re.compile(r"[A-Za-z][\w.-]*")
_COMMENT: Final = f"""\
# A fine-tuned model, written by `python -m pytest_babyai finetune`: {FINE_TUNED_MODEL}.json says
# what it was trained on. It plays together with the model that --babyai-model names.
"""
_PROVIDERS: Final[dict[str, dict[str, str]]] = {
    "openai": {"type": "openai", "api_key_location": "env::OPENAI_API_KEY"},
    # Port 0: the offline server that is started with the run, which serves its fine-tuned models.
    "offline": {
        "type": "openai",
        "api_base": "http://127.0.0.1:0/v1",
        "api_key_location": "none",
    },
}


class TunedVariantFiles:
    """``models/policy_sft.toml`` and ``models/policy_sft.json`` of a configuration directory.

    Args:
        config_dir: The directory.
    """

    def __init__(self, config_dir: Path) -> None:
        self._config_dir = config_dir
        self.toml = config_dir / "models" / f"{FINE_TUNED_MODEL}.toml"
        self.manifest = self.toml.with_suffix(".json")

    def check_free(self, *, force: bool) -> None:
        """Makes sure that the files may be written.

        Raises:
            SettingsError: One of them is there, and is not to be replaced.
        """
        present = [path for path in (self.toml, self.manifest) if path.exists()]
        if present and not force:
            raise SettingsError(f"{present[0]} exists already; --force replaces it")

    def holds(self, record: JobRecord) -> bool:
        """Whether they are those of a job."""
        try:
            manifest = json.loads(self.manifest.read_bytes())
            return self.toml.exists() and bool(manifest["job"]["id"] == record.job_id)
        except (OSError, ValueError, LookupError, TypeError):
            return False

    def write(self, record: JobRecord) -> None:
        """Writes model, variant and manifest.

        Raises:
            FineTuningError: They cannot be written.
            ConfigurationError: The parent variant is no longer declared.
        """
        parent = self._parent(record.request.card.variant)
        text = f"{_COMMENT}\n{to_toml(_tree(record, parent))}"
        manifest = json.dumps(_manifest(record), indent=2, ensure_ascii=False) + "\n"
        try:
            self.toml.parent.mkdir(parents=True, exist_ok=True)
            # The manifest first: a variant never stands there without what it was trained on.
            replace_file(self.manifest, manifest.encode())
            replace_file(self.toml, text.encode())
        except OSError as error:
            raise FineTuningError(
                f"{error.filename or self.toml}: {error.strerror or error}; the model "
                f"{record.fine_tuned_model} is kept by {record.request.provider}, and the same "
                "command writes the files once they can be written"
            ) from None

    def training_record(self) -> TrainingRecord:
        """Reads what the fine-tuned variant was trained on.

        Raises:
            ConfigurationError: The manifest is missing or damaged.
        """
        try:
            manifest = json.loads(self.manifest.read_bytes())
            return TrainingRecord.from_plain(str(manifest["variant"]), manifest["episodes"])
        except FileNotFoundError:
            reason = "no such file"
        except (OSError, ValueError, LookupError, TypeError) as error:
            reason = f"no manifest: {type(error).__name__}"
        raise ConfigurationError(
            f"{self.manifest}: {reason}; without it nothing says what the model of {self.toml} was "
            "trained on, and whether an evaluation of it is fair; fine-tune anew, with --force"
        )

    def _parent(self, name: str) -> Tree:
        """Returns a variant's table, with paths as seen from the fine-tuned model's file."""
        models = self.toml.parent

        def relative(path: Path) -> str:
            return Path(os.path.relpath(path.resolve(), models.resolve())).as_posix()

        for path in (self._config_dir / CONFIGURATION_FILE, *sorted(models.glob("*.toml"))):
            file = read_toml(path)
            if name in tables(file.tree, "functions", ACT_FUNCTION, "variants"):
                only = TomlFile(path, _only_variant(file.tree, name))
                return tables(
                    only.with_paths(relative), "functions", ACT_FUNCTION, "variants", name
                )
        raise ConfigurationError(f"{self._config_dir}: the variant {name!r} is not declared")


def _only_variant(tree: Tree, name: str) -> Tree:
    table = tables(tree, "functions", ACT_FUNCTION, "variants", name)
    return {"functions": {ACT_FUNCTION: {"variants": {name: table}}}}


def _tree(record: JobRecord, parent: Tree) -> Tree:
    provider = record.request.provider
    model = {
        "routing": [provider],
        "timeouts": {"non_streaming": {"total_ms": 60_000}},
        "providers": {
            provider: {**_PROVIDERS[provider], "model_name": record.fine_tuned_model},
        },
    }
    variant = {**parent, "model": FINE_TUNED_MODEL}
    return {
        "models": {FINE_TUNED_MODEL: model},
        "functions": {ACT_FUNCTION: {"variants": {record.request.variant: variant}}},
    }


def _manifest(record: JobRecord) -> dict[str, Any]:
    request, card = record.request, record.request.card.to_plain()
    episodes = card.pop("episodes")
    return {
        "schema": SCHEMA,
        "variant": request.variant,
        "parent": request.card.variant,
        "model": record.fine_tuned_model,
        "base_model": request.model,
        "job": {
            "id": record.job_id,
            "provider": request.provider,
            "launched_at": record.launched_at,
            "hyperparameters": dict(request.hyperparameters),
            "trained_tokens": record.trained_tokens,
        },
        "data": card,
        "episodes": episodes,
        "versions": installed_versions(),
    }


def check_unseen_by_tuned(
    config_dir: Path,
    episodes: Iterable[EpisodeSpec],
    make_environment: Callable[[str], Environment],
) -> None:
    """Makes sure that the fine-tuned variant plays nothing that it was trained on.

    Args:
        config_dir: Whose fine-tuned variant.
        episodes: What is about to be played, other variants included.
        make_environment: Makes the environment of a task.

    Raises:
        LeakageError: It would; the line names the overlap.
        ConfigurationError: There is such a variant, and nothing says what it was trained on.
    """
    files = TunedVariantFiles(config_dir)
    if not files.toml.is_file():
        return
    declared = tables(read_toml(files.toml).tree, "functions", ACT_FUNCTION, "variants")
    planned = [(e.task, e.seed) for e in episodes if e.variant in declared]
    if planned:
        check_unseen(files.training_record(), layouts_of(dict.fromkeys(planned), make_environment))


def check_parent(configuration: GatewayConfiguration, card: DataCard, variant: str) -> None:
    """Makes sure that a variant can be made of a card's, before a job is started.

    Args:
        configuration: What is declared now.
        card: Whose variant is the parent.
        variant: Name of the new variant.

    Raises:
        SettingsError: The name is no name, or another variant's.
        DatasetError: The parent's templates are not those that the data was rendered with.
    """
    tuned = TunedVariantFiles(configuration.config_dir).toml
    own = (
        tables(read_toml(tuned).tree, "functions", ACT_FUNCTION, "variants")
        if tuned.exists()
        else {}
    )
    if not _NAME.fullmatch(variant):
        raise SettingsError(f"--variant: {variant!r} is no name of a variant, such as my_variant")
    if variant in configuration.variants and variant not in own:
        raise SettingsError(
            f"--variant: {configuration.config_dir} declares a variant {variant!r} already; "
            "choose another name"
        )
    now = configuration.variant_parts.get(card.variant)
    if now is None:
        raise DatasetError(
            f"{configuration.config_dir}: the data is of the variant {card.variant!r}, which is "
            "not declared"
        )
    then = card.source["template_hashes"]
    changed = sorted(part for part in then if now.get(part) != then[part])
    if changed:
        raise DatasetError(
            f"{configuration.config_dir}: {', '.join(changed)} of variant {card.variant!r} changed "
            "since the data was made, and a model is played with the prompts that it has "
            "learned; put that back, or make the data anew"
        )
