"""What a TensorZero configuration and a model file declare, without TensorZero.

All decisions are taken here, on one frozen object: which files, which function, which variants are
played by which model, what the run is called, and whether a language model answers at all.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_babyai.errors import (
    ConfigurationError,
    CredentialsError,
    SettingsError,
    did_you_mean,
)
from pytest_babyai.gateway import credentials, models, toml_files
from pytest_babyai.gateway.arguments import ActFunction, read_function
from pytest_babyai.gateway.toml_files import CONFIGURATION_FILE
from pytest_babyai.gateway.variant_parts import (
    Contents,
    hash_of,
    model_hash,
    variant_contents,
    variant_parts,
)
from pytest_babyai.project import CONFIG, packaged
from pytest_babyai.records import EpisodeResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_babyai.gateway.models import ModelProvider
    from pytest_babyai.gateway.toml_files import TomlFile, Tree
    from pytest_babyai.records import EpisodeOutcome

__all__ = [
    "ACT_FUNCTION",
    "CONFIGURATION_FILE",
    "DEFAULT_MODEL",
    "FINE_TUNED_MODEL",
    "MODELS",
    "POLICY",
    "GatewayConfiguration",
    "known_models",
    "read_configuration",
]

ACT_FUNCTION: Final = "act"
"""Name of the TensorZero function that chooses an action, unless another one is named."""

POLICY: Final = "policy"
"""The model that the shipped variants name, and that a model file defines."""

DEFAULT_MODEL: Final = "offline"
"""The model file that defines `POLICY` where the configuration itself does not."""

FINE_TUNED_MODEL: Final = "policy_sft"
"""Name of the fine-tuned model, and of its file in `MODELS`: it plays beside the chosen one."""

MODELS: Final = "models"
"""Directory of the model files, beside the configuration."""

_UNPLAYED_TABLES = frozenset({"evaluations", "optimizers"})
_ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class GatewayConfiguration:
    """A checked TensorZero configuration: the functions' files and the models' files as one.

    Attributes:
        config_dir: Directory of the first file.
        model_file: The file that was chosen to define the models; the first file where none was.
        variant_parts: For each variant of the function, in the order of the files, 16 hexadecimal
            digits over each part that determines its behaviour: its table, the text of its
            templates and what they include, the function's schemas, the models it names, and the
            same of its candidates. Free of secrets, which stand in the environment alone.
        credential_variables: Environment variables that hold the models' keys.
        tree: All files merged, with absolute paths.
        unusable_variants: Fine-tuned variants that were left out, each with the line that says
            why.
        variant_contents: For each variant the parts themselves, as far as they may be kept.
        function: The function that chooses an action, and what its variants are sent.
        files: All files, the first one first.
        model_name: The model that was chosen, or that is played by default; None where every
            variant is played by a model of the configuration itself.
        origins: Name by model of the file that was chosen for it.
        replaced: For each variant that plays another model than it names, what it would play.
    """

    config_dir: Path
    model_file: Path
    variant_parts: Mapping[str, Mapping[str, str]]
    credential_variables: tuple[str, ...]
    tree: Tree = field(repr=False, compare=False)
    unusable_variants: Mapping[str, str] = field(default_factory=dict)
    variant_contents: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    function: ActFunction = field(default_factory=ActFunction, repr=False)
    files: tuple[Path, ...] = ()
    model_name: str | None = None
    origins: Mapping[str, str] = field(default_factory=dict)
    replaced: Mapping[str, str] = field(default_factory=dict)

    @property
    def variants(self) -> tuple[str, ...]:
        """Names of the variants, in the order of the files."""
        return tuple(self.variant_parts)

    @property
    def variant_hashes(self) -> Mapping[str, str]:
        """16 hexadecimal digits over all parts of each variant."""
        return {name: hash_of(parts) for name, parts in self.variant_parts.items()}

    def providers(self, variant: str) -> tuple[ModelProvider, ...]:
        """Returns who may answer a variant, its candidates' and its judge's models included.

        Raises:
            ConfigurationError: It names a model that is not defined.
        """
        named = models.models_of_variant(self._variants, variant)
        try:
            found = [models.providers_of(self.tree, name, key) for key, name in named]
        except ConfigurationError as error:
            raise ConfigurationError(f"{self.files[0]}: variant {variant!r}: {error}") from None
        return tuple(dict.fromkeys(provider for routed in found for provider in routed))

    def offline_variants(self, variants: Sequence[str]) -> tuple[str, ...]:
        """Returns those variants that nothing but the offline server can answer."""
        return tuple(name for name in variants if self._is_offline(name))

    def is_offline(self, variants: Sequence[str] | None = None) -> bool:
        """Returns whether the offline server plays all of these variants, of which there are some.

        A variant that may fall back to another provider is not offline.

        Args:
            variants: Those that are played; None for all.
        """
        played = self.variants if variants is None else tuple(variants)
        return bool(played) and len(self.offline_variants(played)) == len(played)

    def model_label(self, variants: Sequence[str] | None = None) -> str:
        """Returns the models of the variants that are played, for summaries.

        ``"gpt-4o-mini (openai)"``; where they differ, with the variants of each; where a variant
        plays another model than it names, with that as well.

        Args:
            variants: Those that are played; None for all.

        Raises:
            ConfigurationError: One names a model that is not defined.
        """
        played = self.variants if variants is None else tuple(variants)
        groups: dict[str, list[str]] = {}
        for name in played:
            groups.setdefault(models.label_of(self.providers(name), self.origins), []).append(name)
        if len(groups) <= 1:
            label = next(iter(groups), "no model")
        else:
            offline = set(self.offline_variants(played))
            label = "; ".join(
                f"{text}{' OFFLINE' if offline.issuperset(names) else ''} for {', '.join(names)}"
                for text, names in groups.items()
            )
        replaced = dict.fromkeys(self.replaced[name] for name in played if name in self.replaced)
        return f"{label} in place of {', '.join(replaced)}" if replaced else label

    def answer_lines(self, outcomes: Iterable[EpisodeOutcome]) -> Iterator[str]:
        """Yields which models answered the variants that may fall back to another one."""
        answered: dict[str, dict[str, None]] = {}
        for outcome in outcomes:
            if isinstance(outcome, EpisodeResult):
                answered.setdefault(outcome.spec.variant, {}).update(dict.fromkeys(outcome.models))
        for variant, names in answered.items():
            routes = Counter(provider.model for provider in self.providers(variant))
            if names and max(routes.values(), default=0) > 1:
                yield f"{variant} was answered by {', '.join(names)}"

    def check_playable(
        self, variants: Sequence[str], environ: Mapping[str, str], *, has_own_keys: bool = True
    ) -> None:
        """Makes sure that variants can be played: their models are there, and their keys.

        Args:
            variants: Those that are about to be played.
            environ: Where keys are looked up; nothing of their values is kept.
            has_own_keys: Whether the keys are needed; a gateway elsewhere has its own.

        Raises:
            ConfigurationError: A variant names a model that is not defined.
            CredentialsError: A key is not set.
        """
        providers = [provider for name in variants for provider in self.providers(name)]
        missing = credentials.missing_variable(self.playing(variants).tree, environ)
        missing = missing or credentials.missing_default(providers, self.tree, environ)
        if missing and has_own_keys:
            place = next((f for f in self.files if missing in toml_files.read_text(f)), None)
            raise CredentialsError(credentials.missing_line(place or self.model_file, missing))

    def playing(self, variants: Sequence[str]) -> GatewayConfiguration:
        """Returns the same configuration with what these variants need, and nothing else.

        TensorZero asks for the keys of all models that it is given, whether they are used or not.
        """
        kept = models.reachable_variants(self._variants, tuple(variants))
        named = {pair for name in kept for pair in models.models_of_variant(self._variants, name)}
        types = {provider.type for name in kept for provider in self.providers(name)}
        tree = {**self.tree}
        for key in models.MODEL_KEYS:
            own = toml_files.tables(tree, f"{key}s")
            tree[f"{key}s"] = {name: own[name] for name in own if (key, name) in named}
        defaults = toml_files.tables(tree, "provider_types")
        tree["provider_types"] = {kind: defaults[kind] for kind in defaults if kind in types}
        function = {
            **toml_files.tables(tree, "functions", self.function.name),
            "variants": {name: self._variants[name] for name in self._variants if name in kept},
        }
        tree["functions"] = {self.function.name: function}
        return replace(
            self,
            variant_parts={
                name: self.variant_parts[name] for name in self.variants if name in variants
            },
            tree={name: part for name, part in tree.items() if part != {}},
        )

    @property
    def offline_port(self) -> int | None:
        """0 where a model's ``api_base`` is port 0 of this machine, else None.

        Port 0 stands for a server that is started with the run, on a free port, and then made
        known by `with_api_base`.
        """
        providers = (
            toml_files.tables(provider)
            for model in toml_files.tables(self.tree, "models").values()
            for provider in toml_files.tables(model, "providers").values()
        )
        return 0 if any(map(models.is_placeholder, providers)) else None

    def with_api_base(self, api_base: str) -> GatewayConfiguration:
        """Returns the same configuration with ``api_base`` where a server was to be started."""
        defined = {
            name: {
                **model,
                "providers": {
                    key: {**provider, "api_base": api_base}
                    if models.is_placeholder(toml_files.tables(provider))
                    else provider
                    for key, provider in toml_files.tables(model, "providers").items()
                },
            }
            for name, model in toml_files.tables(self.tree, "models").items()
        }
        return replace(self, tree={**self.tree, "models": defined})

    def with_model_hashes(self, salt: Mapping[str, Any]) -> GatewayConfiguration:
        """Returns the same configuration with a hash of the models that answer each variant.

        To be called before `with_api_base`, whose port is another one each time.

        Args:
            salt: By model, what else decides its answers, such as the bytes of its parameters.
        """
        hashes = {
            name: model_hash(self.tree, self._variants, name, dict(salt)) for name in self._variants
        }
        return replace(self, function=replace(self.function, model_hashes=hashes))

    def to_toml(self) -> str:
        """Writes the configuration as one TOML file that may lie anywhere."""
        return toml_files.to_toml(self.tree)

    @property
    def _variants(self) -> Tree:
        return toml_files.tables(self.tree, "functions", self.function.name, "variants")

    def _is_offline(self, variant: str) -> bool:
        providers = self.providers(variant)
        return bool(providers) and all(provider.is_offline for provider in providers)


def read_configuration(
    source: Path,
    model: str | None,
    environ: Mapping[str, str],
    *,
    function: str = ACT_FUNCTION,
    check_credentials: bool = True,
) -> GatewayConfiguration:
    """Reads and checks a configuration, the chosen model's file and the fine-tuned one's.

    A model file may declare more variants; its paths are relative to itself. The fine-tuned model,
    ``models/policy_sft.toml``, is read where it exists and its key is set.

    Args:
        source: A directory with ``tensorzero.toml``, a file, or a glob.
        model: What plays all variants in place of the models that they name: a file of ``models/``
            without its suffix, or the path of a TOML file. None lets each variant play the model
            that it names, and ``policy``, where nothing defines it, be `DEFAULT_MODEL`.
        environ: Where the key of the fine-tuned model is looked up; nothing of it is kept.
        function: The function that chooses an action.
        check_credentials: Whether a fine-tuned model whose key is missing is left out. A gateway
            that runs elsewhere has keys of its own.

    Raises:
        SettingsError: No model of that name.
        ConfigurationError: A file is missing, malformed, or declares nothing that can be played.
    """
    own, chosen = _own_and_chosen(source, model, function)
    place = own[0].path
    tuned = _fine_tuned_file(place.parent, own, chosen)
    missing = credentials.missing_variable(tuned.tree, environ) if tuned else None
    usable = [tuned] if tuned and not (missing and check_credentials) else []
    plays = _model_of(chosen[0]) if chosen and model else None
    files = [*_without_models_of(own, chosen if plays else []), *chosen, *usable]

    def assembled(merged: Tree) -> Tree:
        tree = _cleaned(merged, function)
        return _with_model(tree, function, _variants_of(own, function), plays) if plays else tree

    tree = assembled(toml_files.merge_files(files, lambda path: str(path.resolve())))
    act = read_function(tree, function, place)
    variants = _variants(tree, function, place)
    contents = assembled(toml_files.merge_files(files, Contents(tree).of))
    return GatewayConfiguration(
        config_dir=place.parent,
        model_file=chosen[0].path if chosen else place,
        variant_parts={name: variant_parts(contents, function, name) for name in variants},
        credential_variables=tuple(dict.fromkeys(credentials.credential_variables(tree))),
        tree=tree,
        unusable_variants=_unusable(tuned, function, missing)
        if tuned and missing and not usable
        else {},
        variant_contents={name: variant_contents(contents, function, name) for name in variants},
        function=act,
        files=tuple(file.path for file in files),
        model_name=model or next((file.path.stem for file in chosen), None),
        origins={
            name: file.path.stem
            for file in [*chosen, *usable]
            for name in toml_files.tables(file.tree, "models")
        },
        replaced=_replaced(own, function, plays) if plays else {},
    )


def known_models(config_dir: Path) -> tuple[str, ...]:
    """Returns the names that may be chosen as a model: the project's and the packaged ones."""
    directories = (config_dir / MODELS, packaged(CONFIG) / MODELS)
    names = {path.stem for directory in directories for path in directory.glob("*.toml")}
    return tuple(sorted(names - {FINE_TUNED_MODEL}))


def check_rule_models(rules: Any, config_dir: Path, model: str | None, place: str) -> None:
    """Makes sure that gates which are written by name of a model name one that there is.

    Args:
        rules: The setting ``fail``: texts, or texts by name of a model.
        config_dir: Directory of the configuration.
        model: The model that was chosen.
        place: Where the rules stand, for the error line.

    Raises:
        SettingsError: There is no such model, so that its gates would never be judged.
    """
    known = (*known_models(config_dir), *([model] if model else []))
    for name in rules if isinstance(rules, dict) else ():
        if name not in known and not name.endswith(".toml"):
            raise SettingsError(f"{place}: no model {name!r}; {did_you_mean(name, known)}")


def _own_and_chosen(
    source: Path, model: str | None, function: str
) -> tuple[list[TomlFile], list[TomlFile]]:
    """Returns the configuration's own files, and the one that defines the models, if one does."""
    own = [toml_files.read_toml(path) for path in toml_files.find_files(source)]
    config_dir = own[0].path.parent
    if model is None:
        tree = toml_files.merge_files(own, str)
        variants = toml_files.tables(tree, "functions", function, "variants")
        named = {pair for name in variants for pair in models.models_of_variant(variants, name)}
        is_needed = ("model", POLICY) in named and POLICY not in toml_files.tables(tree, MODELS)
        chosen = [_model_file(config_dir, DEFAULT_MODEL)] if is_needed else []
    else:
        chosen = [_model_file(config_dir, model)]
    is_among_own = {path.resolve() for path in chosen}
    own = [file for file in own if file.path.resolve() not in is_among_own] or own
    return own, [toml_files.read_toml(path) for path in chosen]


def _model_file(config_dir: Path, model: str) -> Path:
    if model.endswith(".toml") or "/" in model or "\\" in model:
        return Path(model).expanduser()
    own = config_dir / MODELS
    for directory in (own, packaged(CONFIG) / MODELS):
        if (directory / f"{model}.toml").is_file():
            return directory / f"{model}.toml"
    raise SettingsError(
        f"no model {model!r} in {own}: {did_you_mean(model, known_models(config_dir))} "
        "(or give the path of a .toml file)"
    )


def _model_of(file: TomlFile) -> str:
    """Returns the model of a file that plays all variants."""
    names = list(toml_files.tables(file.tree, MODELS))
    if POLICY in names or len(names) == 1:
        return POLICY if POLICY in names else names[0]
    found = f"several: {', '.join(names)}" if names else "none"
    raise ConfigurationError(
        f"{file.path}: one model expected, or one that is called [models.{POLICY}]; found {found}"
    )


def _fine_tuned_file(
    config_dir: Path, own: Sequence[TomlFile], chosen: Sequence[TomlFile]
) -> TomlFile | None:
    path = config_dir / MODELS / f"{FINE_TUNED_MODEL}.toml"
    if path.resolve() in [file.path.resolve() for file in chosen]:
        raise SettingsError(
            f"{path} is the fine-tuned model, which plays beside another one: choose that by "
            "--babyai-model, and the fine-tuned variant by --babyai-variants"
        )
    is_read = path.resolve() in [file.path.resolve() for file in own]
    return toml_files.read_toml(path) if path.is_file() and not is_read else None


def _unusable(tuned: TomlFile, function: str, missing: str) -> dict[str, str]:
    line = (
        f"{tuned.path}: the environment variable {missing} is not set; set it "
        f"(export {missing}=...) to play the fine-tuned model"
    )
    return dict.fromkeys(_variants_of([tuned], function), line)


def _variants_of(files: Sequence[TomlFile], function: str) -> list[str]:
    return [
        name
        for file in files
        for name in toml_files.tables(file.tree, "functions", function, "variants")
    ]


def _variants(tree: Tree, function: str, place: Path) -> Tree:
    variants = toml_files.tables(tree, "functions", function, "variants")
    if not variants:
        raise ConfigurationError(f"{place}: function {function!r} has no variants to play")
    return variants


def _without_models_of(own: Sequence[TomlFile], chosen: Sequence[TomlFile]) -> list[TomlFile]:
    """Returns files without the models that a chosen one defines in their place."""
    names = {name for file in chosen for name in toml_files.tables(file.tree, MODELS)}
    return [
        replace(file, tree={**file.tree, MODELS: _without(file.tree[MODELS], names)})
        if MODELS in file.tree
        else file
        for file in own
    ]


def _without(table: Tree, names: set[str]) -> Tree:
    return {name: part for name, part in table.items() if name not in names}


def _cleaned(tree: Tree, function: str) -> Tree:
    """Leaves out what is not played, and writes templates and schemas in the newer syntax.

    Experiments among them: every request pins its variant.
    """
    kept = _without(tree, set(_UNPLAYED_TABLES))
    table = dict(toml_files.tables(kept, "functions", function))
    if not table:
        return kept  # is told with the names of the functions that there are
    table.pop("experimentation", None)
    schemas = dict(toml_files.tables(table, "schemas"))
    variants = dict(toml_files.tables(table, "variants"))
    for role in _ROLES:
        if f"{role}_schema" not in table or role in schemas:
            continue
        schemas[role] = {"path": table.pop(f"{role}_schema")}
        variants = {name: _newer_syntax(part, role) for name, part in variants.items()}
    if schemas:
        table["schemas"] = schemas
    return {**kept, "functions": {function: {**table, "variants": variants}}}


def _newer_syntax(variant: Any, role: str) -> Any:
    if not isinstance(variant, dict) or f"{role}_template" not in variant:
        return variant
    table = dict(variant)
    template = {"path": table.pop(f"{role}_template")}
    return {**table, "templates": {**toml_files.tables(table, "templates"), role: template}}


def _with_model(tree: Tree, function: str, names: Sequence[str], model: str) -> Tree:
    """Returns a tree whose variants of these names are played by a model."""
    table = toml_files.tables(tree, "functions", function)
    if not table:
        return tree
    variants = {
        name: models.with_model(part, model) if name in names else part
        for name, part in toml_files.tables(table, "variants").items()
    }
    return {**tree, "functions": {**tree["functions"], function: {**table, "variants": variants}}}


def _replaced(own: Sequence[TomlFile], function: str, plays: str) -> dict[str, str]:
    """Returns by variant the models that it names, where a chosen one plays in their place."""
    tree = toml_files.merge_files(own, str)
    defined = toml_files.tables(tree, MODELS)
    variants = toml_files.tables(tree, "functions", function, "variants")
    found: dict[str, str] = {}
    for variant in variants:
        named = set(models.models_of_variant(variants, variant))
        others = sorted(
            name for key, name in named if key == "model" and (name != plays or name in defined)
        )
        if others:
            found[variant] = ", ".join(_own_label(tree, name) for name in others)
    return found


def _own_label(tree: Tree, model: str) -> str:
    try:
        return models.label_of(models.providers_of(tree, model), {})
    except ConfigurationError:  # nobody is asked for it
        return model
