"""What a TensorZero configuration directory and a model file declare, without TensorZero."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from pytest_babyai.errors import ConfigurationError, CredentialsError, SettingsError, did_you_mean
from pytest_babyai.gateway import toml_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pytest_babyai.gateway.toml_files import TomlFile, Tree

ACT_FUNCTION: Final = "act"
"""Name of the TensorZero function that chooses an action."""

CONFIGURATION_FILE: Final = "tensorzero.toml"

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_INCLUDE = re.compile(
    r"""\{%[-+]?\s*(?:include|import|from|extends)\s+(["'])(?P<name>.+?)\1(?P<rest>.*?)%\}""",
    re.DOTALL,
)


@dataclass(frozen=True)
class GatewayConfiguration:
    """A checked TensorZero configuration: the functions' file and the model's file as one.

    Attributes:
        config_dir: Directory of ``tensorzero.toml``.
        model_file: The file that defines the models.
        model_label: The model for summaries, ``"gpt-4o-mini (openai)"``.
        variant_parts: For each variant of the function `ACT_FUNCTION`, in the order of the files,
            16 hexadecimal digits over each part that determines its behaviour: its table, the text
            of its templates and what they include, the function's schemas, the models it names.
            Free of secrets, which stand in the environment alone.
        credential_variables: Environment variables that hold the models' keys.
        tree: Both files merged, with absolute paths.
    """

    config_dir: Path
    model_file: Path
    model_label: str
    variant_parts: Mapping[str, Mapping[str, str]]
    credential_variables: tuple[str, ...]
    tree: Tree = field(repr=False, compare=False)

    @property
    def variants(self) -> tuple[str, ...]:
        """Names of the variants, in the order of the files."""
        return tuple(self.variant_parts)

    @property
    def variant_hashes(self) -> Mapping[str, str]:
        """16 hexadecimal digits over all parts of each variant."""
        return {name: _hash(parts) for name, parts in self.variant_parts.items()}

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
    model: str,
    environ: Mapping[str, str],
    *,
    check_credentials: bool = True,
) -> GatewayConfiguration:
    """Reads and checks ``tensorzero.toml`` together with a model file.

    The model file may declare more variants, a fine-tuned one for instance; its paths are relative
    to itself.

    Args:
        config_dir: Directory of ``tensorzero.toml`` and of ``models/``.
        model: Name of a file in ``models/`` without its suffix, or the path of a TOML file.
        environ: Where the credentials are looked up; nothing of their values is kept.
        check_credentials: Whether missing ones are an error. A gateway that runs elsewhere has
            credentials of its own.

    Raises:
        SettingsError: No model of that name.
        ConfigurationError: A file is missing, malformed, or declares no variant to play.
        CredentialsError: An API key is not set.
    """
    main = toml_files.read_toml(_configuration_file(config_dir))
    models = toml_files.read_toml(_model_file(config_dir, model))
    tree = _merge(main, models, lambda path: str(path.resolve()))
    variants = _variants(tree, main.path)
    if check_credentials:
        _check_credentials(main, environ)
        _check_credentials(models, environ)
    contents = _merge(main, models, _Contents(tree).of)
    return GatewayConfiguration(
        config_dir=config_dir,
        model_file=models.path,
        model_label=_model_label(models, variants),
        variant_parts={name: _variant_parts(contents, name) for name in variants},
        credential_variables=tuple(dict.fromkeys(_credential_variables(tree))),
        tree=tree,
    )


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
        raise SettingsError(
            f"no model {model!r} in {directory}: {did_you_mean(model, names)} "
            "(or give the path of a .toml file)"
        )
    return directory / f"{model}.toml"


def _merge(main: TomlFile, models: TomlFile, replace_path: Callable[[Path], str]) -> Tree:
    try:
        return toml_files.merge(main.with_paths(replace_path), models.with_paths(replace_path))
    except toml_files.DuplicateKeyError as error:
        raise ConfigurationError(f"{models.path}: {error} is also set in {main.path}") from None


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


def _check_credentials(file: TomlFile, environ: Mapping[str, str]) -> None:
    for location in _credential_locations(file.tree):
        variables = list(_variables_of(location))
        if variables and not any(environ.get(name) for name in variables):
            name = variables[0]
            raise CredentialsError(
                f"{file.path}: the environment variable {name} is not set; "
                f"set it (export {name}=...) or play without a key: --babyai-model offline"
            )


def _credential_locations(tree: Tree) -> Iterator[Any]:
    for table in ("models", "embedding_models", "provider_types"):
        yield from toml_files.values_of(tree.get(table), "api_key_location")


def _credential_variables(tree: Tree) -> Iterator[str]:
    for location in _credential_locations(tree):
        yield from _variables_of(location)


def _variables_of(location: Any) -> Iterator[str]:
    """Yields the variables of ``"env::X"`` and of ``{default = "env::X", fallback = "env::Y"}``."""
    if isinstance(location, dict):
        for part in location.values():
            yield from _variables_of(part)
    elif isinstance(location, str) and location.startswith("env::"):
        yield location.removeprefix("env::")


class _Contents:
    """Text of the files that a configuration names, and of the templates that these include."""

    def __init__(self, tree: Tree) -> None:
        access = toml_files.tables(tree, "gateway", "template_filesystem_access")
        self._include_dir = Path(access["base_path"]) if "base_path" in access else None

    def of(self, path: Path) -> str:
        """Returns the text of a file and of all it includes, nothing for a directory."""
        return "" if path.is_dir() else json.dumps(self._texts(path, {}))

    def _texts(self, path: Path, texts: dict[str, str], name: str = "") -> dict[str, str]:
        texts[name] = toml_files.read_text(path)
        if self._include_dir is None:
            return texts
        for include in _INCLUDE.finditer(texts[name]):
            included = self._include_dir / include["name"]
            if include["name"] in texts or self._may_be_missing(included, include["rest"]):
                continue
            if not included.is_file():
                raise ConfigurationError(
                    f"{path}: includes {include['name']!r}, but there is no {included}"
                )
            self._texts(included, texts, include["name"])
        return texts

    @staticmethod
    def _may_be_missing(included: Path, rest: str) -> bool:
        return "ignore missing" in rest and not included.exists()


def _variant_parts(contents: Tree, variant: str) -> dict[str, str]:
    function = dict(contents["functions"][ACT_FUNCTION])
    table = dict(function.pop("variants")[variant])
    for key in ("experimentation", "description"):
        function.pop(key, None)
    names = {str(name) for name in toml_files.values_of(table, "model")}
    models = toml_files.tables(contents, "models")
    parts = {f"model {name}": models.get(name) for name in sorted(names)}
    parts |= {f"template {name}": text for name, text in _pop_tables(table, "templates")}
    parts |= {f"schema {name}": text for name, text in _pop_tables(function, "schemas")}
    parts["schema output"] = function.pop("output_schema", None)
    parts["variant table"] = table
    parts["function table"] = function
    return {name: _hash(content) for name, content in parts.items() if content}


def _pop_tables(table: dict[str, Any], key: str) -> Iterator[tuple[str, Any]]:
    found = table.pop(key, None)
    yield from found.items() if isinstance(found, dict) else ()


def _hash(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
