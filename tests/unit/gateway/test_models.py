"""Which models play: from the providers of the played variants, and from nothing else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pytest_babyai.errors import ConfigurationError, CredentialsError, SettingsError
from pytest_babyai.gateway.configuration import (
    GatewayConfiguration,
    check_rule_models,
    read_configuration,
)
from pytest_babyai.gateway.models import offline_fingerprints

if TYPE_CHECKING:
    from pathlib import Path

HEAD = """
[functions.act]
type = "json"
[functions.act.experimentation]
type = "static"
"""


def provider(name: str, model_name: str, api_base: str | None = None, key: str = "none") -> str:
    base = f'\napi_base = "{api_base}"' if api_base else ""
    return (
        f'[models.{name}]\nrouting = ["p"]\n[models.{name}.providers.p]\ntype = "openai"\n'
        f'model_name = "{model_name}"\napi_key_location = "{key}"{base}\n'
    )


def variant(name: str, model: str, more: str = "") -> str:
    return (
        f'[functions.act.variants.{name}]\ntype = "chat_completion"\nmodel = "{model}"\n'
        f'json_mode = "on"\n{more}\n'
    )


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    return Reader(tmp_path)


class Reader:
    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __call__(self, *parts: str, model: str | None = None) -> GatewayConfiguration:
        (self.directory / "tensorzero.toml").write_text(HEAD + "".join(parts))
        return read_configuration(self.directory, model, {})


REAL = provider("real", "gpt-x", key="env::A_KEY")
OURS = provider("ours", "babyai-offline", "http://127.0.0.1:0/v1")


def test_without_a_choice_variants_play_what_they_name(read: Reader) -> None:
    found = read(variant("a", "real"), variant("b", "openai::gpt-y"), REAL)

    assert found.model_name is None
    assert found.model_label(["a"]) == "gpt-x (openai)"
    assert found.model_label(["b"]) == "gpt-y (openai)"
    assert found.model_label() == "gpt-x (openai) for a; gpt-y (openai) for b"
    assert not found.is_offline(["a"])


def test_the_default_model_is_read_only_where_it_is_needed(read: Reader) -> None:
    own = provider("policy", "mine", "http://127.0.0.1:9/v1")

    assert read(variant("a", "policy")).model_label() == "babyai-offline (offline)"
    assert read(variant("a", "policy")).model_name == "offline"
    assert read(variant("a", "policy"), own).model_label() == "mine (openai)"
    assert read(variant("a", "policy"), own).model_name is None


def test_a_choice_plays_all_variants_and_tells_what_it_replaces(read: Reader) -> None:
    parts = variant("a", "real"), variant("b", "openai::gpt-y"), variant("c", "policy"), REAL

    found = read(*parts, model="offline")

    assert found.is_offline(["a", "b", "c"])
    assert found.model_label(["c"]) == "babyai-offline (offline)"
    assert found.model_label() == (
        "babyai-offline (offline) in place of gpt-x (openai), gpt-y (openai)"
    )
    assert found.playing(["a", "b", "c"]).credential_variables == ("A_KEY",)
    assert "A_KEY" not in found.playing(["a", "b", "c"]).to_toml()


def test_a_choice_takes_the_place_of_a_model_of_its_name(read: Reader) -> None:
    own = provider("policy", "mine", "http://127.0.0.1:9/v1")

    found = read(variant("a", "policy"), own, model="offline")

    assert found.is_offline(["a"])
    assert found.model_label() == "babyai-offline (offline) in place of mine (openai)"


def test_a_choice_plays_judges_and_candidates_too(read: Reader) -> None:
    judged = (
        '[functions.act.variants.best]\ntype = "experimental_best_of_n_sampling"\n'
        'candidates = ["a"]\n[functions.act.variants.best.evaluator]\nmodel = "openai::judge"\n'
        'json_mode = "on"\n'
    )

    assert read(variant("a", "real"), judged, REAL).model_label(["best"]) == "judge, gpt-x (openai)"
    assert read(variant("a", "real"), judged, REAL, model="offline").is_offline(["best"])


def test_a_judge_at_a_provider_makes_a_variant_no_offline_one(read: Reader) -> None:
    judged = (
        '[functions.act.variants.best]\ntype = "experimental_best_of_n_sampling"\n'
        'candidates = ["a"]\n[functions.act.variants.best.evaluator]\nmodel = "openai::judge"\n'
    )

    found = read(variant("a", "ours"), judged, OURS)

    assert found.offline_variants(["a", "best"]) == ("a",)


@pytest.mark.parametrize(
    ("model_name", "api_base", "is_offline"),
    [
        ("babyai-offline", "http://127.0.0.1:0/v1", True),
        ("babyai-offline", "http://localhost:8100/v1", True),
        ("ft:babyai-offline:x::1", "http://127.0.0.1:8100/v1", True),
        ("gpt-x", "http://127.0.0.1:8100/v1", False),
        ("babyai-offline", "http://models.example.org/v1", False),
        ("babyai-offline", None, False),
        ("offline", "http://127.0.0.1:8100/v1", False),
    ],
)
def test_only_the_offline_server_is_offline(
    read: Reader, model_name: str, api_base: str | None, *, is_offline: bool
) -> None:
    found = read(variant("a", "m"), provider("m", model_name, api_base))

    assert found.is_offline(["a"]) is is_offline


def test_nothing_played_is_not_offline(read: Reader) -> None:
    assert not read(variant("a", "ours"), OURS).is_offline([])


def test_a_model_that_may_fall_back_is_told_with_both(read: Reader) -> None:
    both = OURS.replace('["p"]', '["p", "q"]') + (
        '[models.ours.providers.q]\ntype = "anthropic"\nmodel_name = "claude-x"\n'
    )

    found = read(variant("a", "ours"), both)

    assert found.model_label() == "babyai-offline, else claude-x (openai, anthropic)"
    assert not found.is_offline(["a"])


def test_a_model_that_is_not_defined_is_told_where_it_is_played(read: Reader) -> None:
    found = read(variant("a", "reel"), variant("b", "real"), REAL)

    found.check_playable(["b"], {"A_KEY": "x"})
    with pytest.raises(ConfigurationError) as caught:
        found.check_playable(["a"], {"A_KEY": "x"})
    assert str(caught.value) == (
        f"{read.directory / 'tensorzero.toml'}: variant 'a': model 'reel' is not defined; "
        "did you mean 'real'?"
    )


def test_only_the_keys_of_played_variants_are_needed(read: Reader) -> None:
    types = '[provider_types.mistral.defaults]\napi_key_location = "env::OTHER_KEY"\n'
    found = read(variant("a", "ours"), variant("b", "real"), OURS, REAL, types)

    found.check_playable(["a"], {})
    with pytest.raises(CredentialsError, match="A_KEY is not set"):
        found.check_playable(["a", "b"], {})
    assert "OTHER_KEY" not in found.playing(["a", "b"]).to_toml()


@pytest.mark.parametrize("kind", ["openai", "anthropic", "mistral"])
def test_a_shorthand_needs_its_provider_s_key(read: Reader, kind: str) -> None:
    found = read(variant("a", f"{kind}::some-model"))

    with pytest.raises(CredentialsError, match=f"{kind.upper()}_API_KEY is not set"):
        found.check_playable(["a"], {})
    found.check_playable(["a"], {f"{kind.upper()}_API_KEY": "x"})
    found.check_playable(["a"], {}, has_own_keys=False)


def test_what_is_not_played_is_left_out(read: Reader) -> None:
    other = '[functions.other]\ntype = "chat"\n[functions.other.variants.z]\nmodel = "gone"\n'
    judge = '[evaluations.e]\ntype = "static"\nfunction_name = "other"\n'
    found = read(variant("a", "ours"), variant("b", "real"), OURS, REAL, other, judge)

    tree = found.playing(["a"]).tree

    assert list(tree["functions"]) == ["act"]
    assert list(tree["functions"]["act"]["variants"]) == ["a"]
    assert "experimentation" not in tree["functions"]["act"]
    assert list(tree["models"]) == ["ours"]
    assert "evaluations" not in tree


def test_candidates_are_kept_with_the_variant_that_needs_them(read: Reader) -> None:
    fused = (
        '[functions.act.variants.mix]\ntype = "experimental_mixture_of_n"\ncandidates = ["b"]\n'
        '[functions.act.variants.mix.fuser]\nmodel = "ours"\n'
    )

    tree = read(variant("a", "ours"), variant("b", "real"), fused, OURS, REAL).playing(["mix"]).tree

    assert set(tree["functions"]["act"]["variants"]) == {"b", "mix"}
    assert set(tree["models"]) == {"ours", "real"}


@pytest.mark.parametrize(
    ("old", "new"),
    [("gpt-x", "gpt-z"), ("judge-1", "judge-2"), ("max_tokens = 1", "max_tokens = 2")],
)
def test_the_hash_of_a_variant_covers_its_candidates_and_its_judge(
    read: Reader, old: str, new: str
) -> None:
    judged = (
        '[functions.act.variants.best]\ntype = "experimental_best_of_n_sampling"\n'
        'candidates = ["a"]\n[functions.act.variants.best.evaluator]\nmodel = "openai::judge-1"\n'
    )
    parts = "".join([variant("a", "real", "max_tokens = 1"), judged, REAL])

    before = read(parts).variant_hashes["best"]

    assert read(parts.replace(old, new)).variant_hashes["best"] != before


def test_the_hash_of_a_variant_covers_its_embedding_model(read: Reader) -> None:
    dicl = (
        '[functions.act.variants.d]\ntype = "experimental_dynamic_in_context_learning"\n'
        'model = "openai::x"\nembedding_model = "e"\nk = 3\n'
    )
    embedding = provider("e", "embed-1").replace("[models.", "[embedding_models.")

    before = read(dicl, embedding).variant_hashes["d"]

    after = read(dicl, embedding.replace("embed-1", "embed-2")).variant_hashes["d"]
    assert after != before


def test_a_part_is_called_after_its_model(read: Reader) -> None:
    parts = read(variant("a", "my_model"), provider("my_model", "x")).variant_parts["a"]

    assert "model my_model" in parts


def test_a_path_of_urls_is_no_file(read: Reader) -> None:
    found = read('[gateway]\nbase_path = "/tensorzero"\n', variant("a", "ours"), OURS)

    assert found.tree["gateway"]["base_path"] == "/tensorzero"


@pytest.mark.parametrize(("text", "found"), [("", "none"), ("[models.a]\n[models.b]\n", "several")])
def test_a_chosen_file_has_to_define_the_model_that_plays(
    read: Reader, text: str, found: str
) -> None:
    path = read.directory / "chosen.toml"
    path.write_text(text)

    with pytest.raises(ConfigurationError, match=f"chosen.toml: one model expected.*{found}"):
        read(variant("a", "ours"), OURS, model=str(path))


def test_the_key_of_the_cache_knows_name_address_and_file(read: Reader) -> None:
    def key(model_name: str, port: int = 9, salt: str = "") -> str:
        text = provider("m", model_name, f"http://127.0.0.1:{port}/v1")
        found = read(variant("a", "m"), text).with_model_hashes({"m": salt})
        return found.function.model_hashes["a"]

    keys = [key("x"), key("y"), key("x", port=8), key("x", salt="other bytes")]

    assert len(set(keys)) == 4
    assert key("x") == key("x")


def test_a_retrained_model_of_the_same_name_has_another_fingerprint(
    read: Reader, tmp_path: Path
) -> None:
    name = "ft:babyai-offline:x::1"
    tree = read(variant("a", "m"), provider("m", name, "http://127.0.0.1:0/v1")).tree
    model = tmp_path / "models/jobs/ftjob-1/model"
    model.mkdir(parents=True)
    (model.parent / "job.json").write_text(json.dumps({"fine_tuned_model": name}))
    (model / "weights").write_bytes(b"first")

    before = offline_fingerprints(tree, tmp_path / "models")
    assert before == offline_fingerprints(tree, tmp_path / "models")
    (model / "weights").write_bytes(b"second")

    assert offline_fingerprints(tree, tmp_path / "models") != before
    assert before.keys() == {"m"}


def test_gates_of_a_model_that_there_is_not_are_refused(tmp_path: Path) -> None:
    check_rule_models({"offline": (), "mine": (), "x/y.toml": ()}, tmp_path, "mine", "here")
    check_rule_models(("success>=1",), tmp_path, None, "here")

    with pytest.raises(SettingsError, match=r"here: no model 'offlin'; did you mean 'offline'\?"):
        check_rule_models({"offlin": ()}, tmp_path, None, "here")
