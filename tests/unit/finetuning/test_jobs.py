"""A job is started once, picked up wherever it was left, and ends in a variant."""

from __future__ import annotations

import dataclasses
import errno
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from pytest_babyai.errors import ConfigurationError, SettingsError, UsageError
from pytest_babyai.finetuning import job_records, jobs, variant
from pytest_babyai.finetuning.failures import DatasetError, LeakageError
from pytest_babyai.finetuning.job_records import JobRequest, JobStore
from pytest_babyai.finetuning.jobs import FineTuning
from pytest_babyai.finetuning.openai import Pace
from pytest_babyai.finetuning.variant import (
    TunedVariantFiles,
    check_as_trained,
    check_unseen_by_tuned,
)
from pytest_babyai.gateway.configuration import read_configuration
from pytest_babyai.gateway.toml_files import read_toml
from pytest_babyai.records import EpisodeSpec
from tests.unit.finetuning.finetuning_samples import (
    VARIANT,
    Episodes,
    FakeProvider,
    dataset_at,
    environments,
    make_project,
    openai_error,
    recorded,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_babyai.finetuning.dataset import Dataset
    from pytest_babyai.finetuning.openai import Provider
    from pytest_babyai.gateway.configuration import GatewayConfiguration

JOBS = "/openai/fine_tuning/jobs"
KEY = "sk-proj-0123456789abcdefSECRET"
NO_WAIT = Pace(sleep=lambda _: None)


@pytest.fixture
def fake() -> Iterator[FakeProvider]:
    with FakeProvider() as provider:
        yield provider


@pytest.fixture
def config_dir(tmp_path: Path) -> Path:
    return make_project(tmp_path)


@pytest.fixture
def dataset(tmp_path: Path, config_dir: Path) -> Dataset:
    """A dataset that was rendered with the project's templates."""
    parts = read_configuration(config_dir, None, {}).variant_parts[VARIANT]
    hashes = {name: part for name, part in parts.items() if name.startswith("template ")}
    return dataset_at(tmp_path / "data.jsonl", template_hashes=hashes)


class Loop:
    """Fine-tuning in a project, on a fake provider."""

    def __init__(self, config_dir: Path, fake: FakeProvider) -> None:
        self.config_dir = config_dir
        self.root = config_dir.parent
        self.fake = fake
        self.files = TunedVariantFiles(config_dir)
        self.jobs = JobStore(self.root)

    @contextmanager
    def opened(self, name: str) -> Iterator[Provider]:
        assert name == "openai"
        yield self.fake.provider(KEY)

    def fine_tuning(self, *, force: bool = False, pace: Pace = NO_WAIT) -> FineTuning:
        configuration = read_configuration(self.config_dir, None, {}, check_credentials=False)
        return FineTuning(self.root, configuration, self.opened, force=force, pace=pace)

    def run(self, dataset: Dataset, **options: Any) -> list[str]:
        request = request_of(dataset, options.pop("model", "gpt-x"))
        return list(self.fine_tuning(**options).run(dataset, request))

    def refusal(self, dataset: Dataset, **options: Any) -> str:
        with pytest.raises(UsageError) as caught:
            self.run(dataset, **options)
        assert "\n" not in str(caught.value)
        assert KEY not in str(caught.value)
        return str(caught.value)

    def num_jobs(self) -> int:
        return len(self.fake.sent("POST", JOBS))


@pytest.fixture
def loop(config_dir: Path, fake: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> Loop:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return Loop(config_dir, fake)


def request_of(dataset: Dataset, model: str = "gpt-x", variant: str = "act_sft") -> JobRequest:
    return JobRequest("openai", model, variant, {"n_epochs": 2}, dataset.card)


def interrupt(_: float) -> None:
    raise KeyboardInterrupt


def test_a_job_ends_in_a_variant_with_the_templates_of_its_parent(
    loop: Loop, dataset: Dataset
) -> None:
    lines = loop.run(dataset)

    tree = read_toml(loop.files.toml).tree
    assert tree["models"]["policy_sft"]["providers"]["openai"] == {
        "type": "openai",
        "model_name": "ft:gpt-x:org::abc",
        "api_key_location": "env::OPENAI_API_KEY",
    }
    assert tree["functions"]["act"]["variants"]["act_sft"] == {
        "type": "chat_completion",
        "model": "policy_sft",
        "json_mode": "on",
        "max_tokens": 1024,
        "templates": {
            "system": {"path": "../functions/act/system/thinking_and_action.minijinja"},
            "user": {"path": "../functions/act/user/history_and_observation.minijinja"},
        },
    }
    assert lines[0].startswith("fine-tuning gpt-x on 189 tokens for about 2 epochs")
    assert lines[1:3] == ["uploading 27 examples to fine-tune gpt-x", "job ftjob-abc123 started"]
    assert lines[-1].endswith(
        f"pytest evals --babyai-model=offline_careless --babyai-variants={VARIANT},act_sft "
        f"--babyai-reference={VARIANT}"
    )


def test_the_manifest_says_what_the_model_was_trained_on(loop: Loop, dataset: Dataset) -> None:
    loop.run(dataset)

    manifest = json.loads(loop.files.manifest.read_text())
    assert manifest["job"]["hyperparameters"] == {"n_epochs": 2}
    assert (manifest["job"]["id"], manifest["job"]["trained_tokens"]) == ("ftjob-abc123", 42)
    assert (manifest["base_model"], manifest["model"]) == ("gpt-x", "ft:gpt-x:org::abc")
    assert manifest["data"]["train"]["sha256"] == dataset.card.train.sha256
    assert [seed for seed, _ in manifest["episodes"]["goto"]] == list(range(10))
    assert manifest["data"]["source"]["model_setting"] == "offline_careless"


def test_the_manifest_has_the_hyperparameters_that_the_provider_chose(
    loop: Loop, dataset: Dataset
) -> None:
    chosen = {"n_epochs": 2, "batch_size": 16, "learning_rate_multiplier": "auto"}
    method = {"type": "supervised", "supervised": {"hyperparameters": chosen}}
    loop.fake.states = [
        {"status": "succeeded", "fine_tuned_model": "ft:x", "method": method, "seed": 7}
    ]

    loop.run(dataset)

    job = json.loads(loop.files.manifest.read_text())["job"]
    assert job["hyperparameters"] == {"n_epochs": 2, "batch_size": 16, "seed": 7}


def test_before_a_job_costs_money_it_is_asked_for(loop: Loop, dataset: Dataset) -> None:
    asked: list[str] = []

    def refuse(line: str) -> None:
        asked.append(line)
        raise SettingsError("not started")

    tuning = dataclasses.replace(loop.fine_tuning(), confirm=refuse)
    with pytest.raises(SettingsError, match="not started"):
        list(tuning.run(dataset, request_of(dataset)))

    assert "189 tokens" in asked[0]
    assert loop.fake.sent("POST", "/openai/files") == []


def configuration_with_student(loop: Loop, dataset: Dataset) -> GatewayConfiguration:
    loop.run(dataset)
    return read_configuration(loop.config_dir, "offline", {"OPENAI_API_KEY": KEY})


def test_the_variant_and_its_teacher_are_played_on_the_model_that_taught(
    loop: Loop, dataset: Dataset
) -> None:
    configuration = configuration_with_student(loop, dataset)

    check_as_trained(configuration, "offline_careless", [VARIANT, "act_sft"])
    check_as_trained(configuration, "offline", ["act_sft", "baseline"])
    check_as_trained(configuration, "offline", [VARIANT])
    with pytest.raises(SettingsError, match="give --babyai-model=offline_careless, or leave"):
        check_as_trained(configuration, "offline", [VARIANT, "act_sft"])


def test_the_variant_is_played_with_the_prompts_that_it_has_learned(
    loop: Loop, dataset: Dataset
) -> None:
    configuration_with_student(loop, dataset)
    with (loop.config_dir / "functions/act/system/rules.minijinja").open("a") as template:
        template.write("More.")
    changed = read_configuration(loop.config_dir, "offline", {"OPENAI_API_KEY": KEY})

    check_as_trained(changed, "offline_careless", [VARIANT])
    with pytest.raises(ConfigurationError, match="template system changed since act_sft was"):
        check_as_trained(changed, "offline_careless", ["act_sft"])


def test_no_file_holds_the_key(loop: Loop, dataset: Dataset) -> None:
    loop.run(dataset)

    texts = [path.read_text() for path in loop.root.rglob("*") if path.is_file()]
    assert texts
    assert not any(KEY in text for text in texts)


def test_the_variant_is_declared_beside_the_others(loop: Loop, dataset: Dataset) -> None:
    before = read_configuration(loop.config_dir, "offline", {})

    loop.run(dataset)

    after = read_configuration(loop.config_dir, "offline", {"OPENAI_API_KEY": KEY})
    assert after.variants == (*before.variants, "act_sft")
    assert {**after.variant_hashes, **before.variant_hashes} == after.variant_hashes
    parts, parent = after.variant_parts["act_sft"], after.variant_parts[VARIANT]
    assert parts["template user"] == parent["template user"]
    assert parts["template system"] == parent["template system"]
    assert "model policy_sft" in parts
    assert KEY not in after.to_toml()


def test_an_interrupted_job_is_picked_up_and_nothing_uploaded_again(
    loop: Loop, dataset: Dataset
) -> None:
    told: list[str] = []
    interrupted = loop.fine_tuning(pace=Pace(sleep=interrupt)).run(dataset, request_of(dataset))
    with pytest.raises(KeyboardInterrupt):
        told.extend(interrupted)
    assert told[-1] == "job ftjob-abc123 is kept; the same command, or --resume, picks it up"
    assert not loop.files.toml.exists()

    lines = loop.run(dataset)

    assert lines[0].startswith("job ftjob-abc123 was started at ")
    assert loop.num_jobs() == 1
    assert loop.files.toml.exists()


def test_a_job_is_kept_before_it_is_waited_for(loop: Loop, dataset: Dataset) -> None:
    running = loop.fine_tuning().run(dataset, request_of(dataset))
    while "started" not in next(running):
        pass

    assert [record.job_id for record in loop.jobs.records()] == ["ftjob-abc123"]


def test_a_job_is_picked_up_by_its_id_or_as_the_latest(loop: Loop, dataset: Dataset) -> None:
    loop.run(dataset)

    assert loop.jobs.resumed("latest") == loop.jobs.resumed("ftjob-abc123")
    with pytest.raises(SettingsError, match=r"no job 'ftjob-1' .*\(ftjob-abc123\)"):
        loop.jobs.resumed("ftjob-1")


def test_without_a_job_there_is_nothing_to_resume(loop: Loop) -> None:
    with pytest.raises(SettingsError, match="none was started yet"):
        loop.jobs.resumed("latest")


def test_the_same_command_after_the_end_does_nothing(loop: Loop, dataset: Dataset) -> None:
    loop.run(dataset)
    before = loop.files.toml.read_bytes()

    lines = loop.run(dataset)

    assert lines[-1].endswith("is there already, of job ftjob-abc123")
    assert loop.num_jobs() == 1
    assert loop.files.toml.read_bytes() == before


def test_another_request_is_another_job(loop: Loop, dataset: Dataset) -> None:
    loop.run(dataset)

    loop.run(dataset, model="gpt-y", force=True)

    assert loop.num_jobs() == 2


def test_nothing_is_overwritten_unasked(loop: Loop, dataset: Dataset) -> None:
    loop.run(dataset)
    before = loop.files.toml.read_bytes()

    assert "policy_sft.toml exists already; --force replaces it" in loop.refusal(
        dataset, model="gpt-y"
    )
    assert loop.files.toml.read_bytes() == before
    assert loop.num_jobs() == 1


@pytest.mark.parametrize(
    ("job", "told"),
    [
        (
            {"status": "failed", "error": {"message": "Too few\nchats"}},
            "job ftjob-abc123 failed: Too few chats; the training data is kept",
        ),
        ({"status": "cancelled"}, "job ftjob-abc123 was cancelled; the training data is kept"),
        ({"status": "succeeded"}, "job ftjob-abc123 ended without a model; the training data"),
    ],
)
def test_a_job_without_a_model_leaves_no_variant(
    loop: Loop, dataset: Dataset, job: dict[str, Any], told: str
) -> None:
    loop.fake.states = [job]

    assert loop.refusal(dataset).startswith(told)
    assert not loop.files.toml.exists()


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_after_a_failed_job_the_same_command_starts_a_new_one(
    loop: Loop, dataset: Dataset, status: str
) -> None:
    loop.fake.states = [{"status": status}]
    loop.refusal(dataset)
    loop.fake.states = [{"status": "succeeded", "fine_tuned_model": "ft:new"}]

    loop.run(dataset)

    assert loop.num_jobs() == 2
    assert "ft:new" in loop.files.toml.read_text()


def test_a_job_that_its_provider_lost_is_started_anew(loop: Loop, dataset: Dataset) -> None:
    path = f"{JOBS}/ftjob-abc123"
    loop.fake.answers["GET", path] = 404, openai_error("Could not find fine tune")
    assert loop.refusal(dataset).endswith("the same command starts a new job")
    del loop.fake.answers["GET", path]

    loop.run(dataset)

    assert loop.num_jobs() == 2


def test_a_refusal_while_waiting_keeps_the_job(loop: Loop, dataset: Dataset) -> None:
    path = f"{JOBS}/ftjob-abc123"
    loop.fake.answers["GET", path] = 403, openai_error("not yours")
    assert loop.refusal(dataset) == "openai refused (403): not yours"
    del loop.fake.answers["GET", path]

    loop.run(dataset)

    assert loop.num_jobs() == 1


def full(path: Path, content: bytes) -> None:
    raise OSError(errno.ENOSPC, "No space left on device", str(path), len(content))


def test_a_job_that_succeeded_without_a_model_is_not_picked_up(
    loop: Loop, dataset: Dataset
) -> None:
    loop.fake.states = [{"status": "succeeded"}]
    loop.refusal(dataset)

    loop.refusal(dataset)

    assert loop.num_jobs() == 2


def test_a_full_disk_is_told_before_a_job_is_started(
    loop: Loop, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_records, "replace_file", full)

    assert "No space left on device; jobs are kept in" in loop.refusal(dataset)
    assert loop.num_jobs() == 0


def test_a_disk_that_is_full_at_the_end_loses_no_model(
    loop: Loop, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(variant, "replace_file", full)
        assert "ft:gpt-x:org::abc is kept by openai" in loop.refusal(dataset)

    loop.run(dataset)

    assert loop.num_jobs() == 1
    assert "ft:gpt-x:org::abc" in loop.files.toml.read_text()


def test_templates_that_changed_since_the_data_are_refused(loop: Loop, dataset: Dataset) -> None:
    with (loop.config_dir / "functions/act/system/rules.minijinja").open("a") as template:
        template.write("More.")

    with pytest.raises(DatasetError, match="template system of variant"):
        loop.run(dataset)
    assert loop.num_jobs() == 0


@pytest.mark.parametrize(
    ("name", "reason"), [("baseline", "declares a variant 'baseline'"), ("a b", "no name")]
)
def test_a_name_that_cannot_be_used_is_refused(
    loop: Loop, dataset: Dataset, name: str, reason: str
) -> None:
    request = request_of(dataset, variant=name)

    with pytest.raises(SettingsError, match=reason):
        list(loop.fine_tuning().run(dataset, request))
    assert loop.num_jobs() == 0


def test_a_fine_tuned_variant_may_be_replaced_by_one_of_its_name(
    loop: Loop, dataset: Dataset
) -> None:
    loop.run(dataset)

    loop.run(dataset, model="gpt-y", force=True)

    manifest = json.loads(loop.files.manifest.read_text())
    assert (manifest["base_model"], manifest["variant"]) == ("gpt-y", "act_sft")


def test_a_record_that_cannot_be_read_is_no_job(loop: Loop, dataset: Dataset) -> None:
    loop.run(dataset)
    (loop.jobs.directory / "ftjob-abc123.json").write_text("{")

    assert loop.jobs.records() == []


def test_the_fine_tuned_variant_plays_nothing_that_it_was_trained_on(
    loop: Loop, tmp_path: Path
) -> None:
    from pytest_babyai.finetuning.conditions import parse_conditions
    from pytest_babyai.finetuning.curation import curate
    from pytest_babyai.finetuning.dataset import read_dataset, write_dataset

    played = Episodes([recorded(seed, fingerprint=None) for seed in range(5)])
    path = tmp_path / "own.jsonl"
    write_dataset(curate(played, parse_conditions(["steps>0"]), environments), path)
    dataset = read_dataset(path)
    check = [EpisodeSpec("act_sft", "goto", 3), EpisodeSpec("act_sft", "goto", 200)]
    check_unseen_by_tuned(loop.config_dir, check, environments(0))

    loop.run(dataset)

    check_unseen_by_tuned(loop.config_dir, check[1:], environments(0))
    check_unseen_by_tuned(loop.config_dir, [EpisodeSpec(VARIANT, "goto", 3)], environments(0))
    with pytest.raises(LeakageError, match=r"act_sft was trained on seeds 3, .*\(goto-3\)"):
        check_unseen_by_tuned(loop.config_dir, check, environments(0))


@pytest.mark.parametrize("text", [None, "{", "[]", '{"variant": "act_sft"}'])
def test_a_variant_without_its_manifest_is_not_evaluated(
    loop: Loop, dataset: Dataset, text: str | None
) -> None:
    loop.run(dataset)
    if text is None:
        loop.files.manifest.unlink()
    else:
        loop.files.manifest.write_text(text)

    with pytest.raises(ConfigurationError, match=r"policy_sft\.json: "):
        check_unseen_by_tuned(
            loop.config_dir, [EpisodeSpec("act_sft", "goto", 200)], environments(0)
        )


def test_the_paces_know_every_provider() -> None:
    assert set(jobs._PACES) == {"openai", "offline"}
