"""What a TensorZero configuration directory and a model file declare, without TensorZero."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from pytest_babyai.errors import ConfigurationError, SettingsError, did_you_mean
from pytest_babyai.gateway import credentials, toml_files
from pytest_babyai.gateway.variant_parts import (
    Contents,
    hash_of,
    variant_contents,
    variant_parts,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pytest_babyai.gateway.toml_files import TomlFile, Tree

ACT_FUNCTION: Final = "act"
"""Name of the TensorZero function that chooses an action."""

CONFIGURATION_FILE: Final = "tensorzero.toml"

FINE_TUNED_MODEL: Final = "policy_sft"
"""Name of the fine-tuned model, and of its file in ``models/``: it plays beside the chosen one."""

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True)
class GatewayConfiguration:
    """A checked TensorZero configuration: the functions' file and the models' files as one.

    Attributes:
        config_dir: Directory of ``tensorzero.toml``.
        model_file: The file that defines the models.
        model_label: The model for summaries, ``"gpt-4o-mini (openai)"``.
        variant_parts: For each variant of the function `ACT_FUNCTION`, in the order of the files,
            16 hexadecimal digits over each part that determines its behaviour: its table, the text
            of its templates and what they include, the function's schemas, the models it names.
            Free of secrets, which stand in the environment alone.
        credential_variables: Environment variables that hold the models' keys.
        tree: All files merged, with absolute paths.
        unusable_variants: Fine-tuned variants that were left out, each with the line that says
            why.
        variant_contents: For each variant the parts themselves, as far as they may be kept.
    """

    config_dir: Path
    model_file: Path
    model_label: str
    variant_parts: Mapping[str, Mapping[str, str]]
    credential_variables: tuple[str, ...]
    tree: Tree = field(repr=False, compare=False)
    unusable_variants: Mapping[str, str] = field(default_factory=dict)
    variant_contents: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def variants(self) -> tuple[str, ...]:
        """Names of the variants, in the order of the files."""
        return tuple(self.variant_parts)

    @property
    def variant_hashes(self) -> Mapping[str, str]:
        """16 hexadecimal digits over all parts of each variant."""
        return {name: hash_of(parts) for name, parts in self.variant_parts.items()}

    @property
    def offline_port(self) -> int | None:
        """0 where a model's ``api_base`` is port 0 of this machine, else None.

        Port 0 stands for a server that is started with the run, on a free port, and then made
        known by `with_api_base`.
        """
        return 0 if any(map(_is_placeholder, _providers(self.tree))) else None

    def with_api_base(self, api_base: str) -> GatewayConfiguration:
        """Returns the same configuration with ``api_base`` where a server was to be started."""
        models = {
            name: {
                **model,
                "providers": {
                    key: {**provider, "api_base": api_base}
                    if _is_placeholder(provider)
                    else provider
                    for key, provider in toml_files.tables(model, "providers").items()
                },
            }
            for name, model in toml_files.tables(self.tree, "models").items()
        }
        return replace(self, tree={**self.tree, "models": models})

    def to_toml(self) -> str:
        """Writes the configuration as one TOML file that may lie anywhere."""
        return toml_files.to_toml(self.tree)


def read_configuration(
    config_dir: Path,
    model: str | None,
    environ: Mapping[str, str],
    *,
    check_credentials: bool = True,
) -> GatewayConfiguration:
    """Reads and checks ``tensorzero.toml`` together with a model file and the fine-tuned model's.

    A model file may declare more variants; its paths are relative to itself. The fine-tuned model,
    ``models/policy_sft.toml``, is read where it exists and its key is set.

    Args:
        config_dir: Directory of ``tensorzero.toml`` and of ``models/``.
        model: Name of a file in ``models/`` without its suffix, or the path of a TOML file. None
            reads no model: enough for templates, not for a gateway.
        environ: Where the credentials are looked up; nothing of their values is kept.
        check_credentials: Whether missing ones are an error. A gateway that runs elsewhere has
            credentials of its own.

    Raises:
        SettingsError: No model of that name.
        ConfigurationError: A file is missing, malformed, or declares no variant to play.
        CredentialsError: An API key is not set.
    """
    main = toml_files.read_toml(_configuration_file(config_dir))
    models = main if model is None else toml_files.read_toml(_model_file(config_dir, model))
    files = [main] if model is None else [main, models]
    if check_credentials:
        for file in files:
            credentials.check_credentials(file, environ)
    tuned = _fine_tuned_file(config_dir, models)
    missing = credentials.missing_variable(tuned, environ) if tuned and check_credentials else None
    if tuned and missing is None:
        files.append(tuned)
    tree = _merge(files, lambda path: str(path.resolve()))
    variants = _variants(tree, main.path)
    contents = _merge(files, Contents(tree).of)
    return GatewayConfiguration(
        config_dir=config_dir,
        model_file=models.path,
        model_label=_model_label(models, variants),
        variant_parts={name: variant_parts(contents, ACT_FUNCTION, name) for name in variants},
        credential_variables=tuple(dict.fromkeys(credentials.credential_variables(tree))),
        tree=tree,
        unusable_variants=_unusable(tuned, missing) if tuned and missing else {},
        variant_contents={
            name: variant_contents(contents, ACT_FUNCTION, name) for name in variants
        },
    )


def _fine_tuned_file(config_dir: Path, models: TomlFile) -> TomlFile | None:
    path = config_dir / "models" / f"{FINE_TUNED_MODEL}.toml"
    if path.resolve() == models.path.resolve():
        raise SettingsError(
            f"{path} is the fine-tuned model, which plays beside another one: choose that by "
            "--babyai-model, and the fine-tuned variant by --babyai-variants"
        )
    return toml_files.read_toml(path) if path.is_file() else None


def _unusable(tuned: TomlFile, missing: str) -> dict[str, str]:
    line = (
        f"{tuned.path}: the environment variable {missing} is not set; set it "
        f"(export {missing}=...) to play the fine-tuned model"
    )
    declared = toml_files.tables(tuned.tree, "functions", ACT_FUNCTION, "variants")
    return dict.fromkeys(declared, line)


def _configuration_file(config_dir: Path) -> Path:
    if not config_dir.is_dir():
        raise ConfigurationError(
            f"{config_dir}: no such directory; it should hold {CONFIGURATION_FILE}"
        )
    return config_dir / CONFIGURATION_FILE


def _model_file(config_dir: Path, model: str) -> Path:
    if model.endswith(".toml") or "/" in model or "\\" in model:
        return Path(model).expanduser()
    directory = config_dir / "models"
    names = sorted(path.stem for path in directory.glob("*.toml"))
    if model not in names:
        names = [name for name in names if name != FINE_TUNED_MODEL]
        raise SettingsError(
            f"no model {model!r} in {directory}: {did_you_mean(model, names)} "
            "(or give the path of a .toml file)"
        )
    return directory / f"{model}.toml"


def _merge(files: Sequence[TomlFile], replace_path: Callable[[Path], str]) -> Tree:
    trees = [file.with_paths(replace_path) for file in files]
    for (left, left_tree), (right, right_tree) in itertools.combinations(
        zip(files, trees, strict=True), 2
    ):
        _refuse_duplicates(left, left_tree, right, right_tree)
    return functools.reduce(toml_files.merge, trees)


def _refuse_duplicates(left: TomlFile, left_tree: Tree, right: TomlFile, right_tree: Tree) -> None:
    try:
        toml_files.merge(left_tree, right_tree)
    except toml_files.DuplicateKeyError as error:
        message = f"{right.path}: {error} is also set in {left.path}"
        raise ConfigurationError(message) from None


def _variants(tree: Tree, path: Path) -> Tree:
    functions = toml_files.tables(tree, "functions")
    if ACT_FUNCTION not in functions:
        hint = f"; {did_you_mean(ACT_FUNCTION, functions)}" if functions else ""
        raise ConfigurationError(
            f"{path}: no function {ACT_FUNCTION!r}, which the agent calls{hint}"
        )
    function = toml_files.tables(functions, ACT_FUNCTION)
    if function.get("type") != "json":
        found = function.get("type")
        raise ConfigurationError(
            f'{path}: functions.{ACT_FUNCTION}.type is {found!r}; the agent needs a "json" function'
        )
    variants = toml_files.tables(function, "variants")
    if not variants:
        raise ConfigurationError(f"{path}: function {ACT_FUNCTION!r} has no variants to play")
    return variants


def _providers(tree: Tree) -> Iterator[Tree]:
    for model in toml_files.tables(tree, "models").values():
        for provider in toml_files.tables(model, "providers").values():
            if isinstance(provider, dict):
                yield provider


def _is_placeholder(provider: Tree) -> bool:
    try:
        url = urlsplit(str(provider.get("api_base", "")))
        port = url.port
    except ValueError:
        return False
    return url.hostname in _LOOPBACK and port == 0


def _model_label(models: TomlFile, variants: Tree) -> str:
    names = list(map(_provider_model, _routed_providers(models.tree)))
    names = names or [str(name) for name in toml_files.values_of(variants, "model")]
    return f"{', '.join(dict.fromkeys(names))} ({models.path.stem})"


def _routed_providers(tree: Tree) -> Iterator[Tree]:
    for model in toml_files.tables(tree, "models").values():
        routing = toml_files.tables(model).get("routing") or [""]
        provider = toml_files.tables(model, "providers", str(routing[0]))
        if provider:
            yield provider


def _provider_model(provider: Tree) -> str:
    named = (provider.get(key) for key in ("model_name", "model_id", "deployment_id", "type"))
    return str(next((name for name in named if name), "unnamed"))
