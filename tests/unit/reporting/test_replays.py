"""Replays: grids played again, packed small, and left out where they would not be the truth."""

from __future__ import annotations

import base64
import dataclasses
import json
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from pytest_babyai.environment.babyai import BabyAIEnvironment
from pytest_babyai.errors import EnvironmentUnavailableError
from pytest_babyai.records import EpisodeSpec
from pytest_babyai.reporting.recorded import NO_PROVENANCE
from pytest_babyai.reporting.replays import GridHistory, pack, scenes, trace_grid
from tests.browser.played_runs import environment_of, play, random_actions
from tests.unit.reporting.reporting_samples import report_of, solved

if TYPE_CHECKING:
    from pytest_babyai.reporting.results import EpisodeReport

SPEC = EpisodeSpec("plain", "open", 201)


def unpacked(text: str) -> Any:
    return json.loads(zlib.decompress(base64.b64decode(text)))


def states_of(grid: GridHistory) -> list[dict[str, Any]]:
    """Rebuilds snapshots, state by state."""
    states = []
    for number, pose in enumerate(grid.poses):
        cells = list(grid.cells)
        for since, cell, thing in grid.changes:
            if since <= number:
                cells[cell] = thing
        held = [thing for since, thing in grid.carried if since <= number]
        width = grid.width
        states.append(
            {
                "width": width,
                "height": grid.height,
                "cells": [cells[row * width :][:width] for row in range(grid.height)],
                "agent": {
                    "x": pose // 4 % width,
                    "y": pose // 4 // width,
                    "direction": pose % 4,
                },
                "carrying": held[-1] if held else None,
            }
        )
    return states


@pytest.mark.parametrize("task", ["open", "putnext", "pick_up_seq_go_to"])
def test_a_traced_grid_is_the_environments_at_every_step(task: str) -> None:
    spec = EpisodeSpec("plain", task, 205)
    played = play(spec, random_actions(spec, 60))
    environment = BabyAIEnvironment(task)
    environment.reset(seed=spec.seed)
    snapshots = [environment.snapshot()]
    for step in played.steps:
        environment.step(step.action)
        snapshots.append(environment.snapshot())

    grid = trace_grid(played, BabyAIEnvironment(task))

    assert grid is not None
    assert grid.changes
    assert grid.carried
    assert states_of(grid) == snapshots


def test_an_observation_that_differs_leaves_the_grid_out() -> None:
    played = play(SPEC, random_actions(SPEC, 10))
    changed = dataclasses.replace(played.steps[3], observation="a dragon 1 step forward")
    steps = (*played.steps[:3], changed, *played.steps[4:])
    other = dataclasses.replace(played, steps=steps)
    assert trace_grid(other, BabyAIEnvironment("open")) is None


def test_a_reward_that_differs_leaves_the_grid_out() -> None:
    played = play(SPEC, random_actions(SPEC, 3))
    last = dataclasses.replace(played.steps[-1], reward=0.5)
    other = dataclasses.replace(played, steps=(*played.steps[:-1], last))
    assert trace_grid(other, BabyAIEnvironment("open")) is None


def test_an_environment_that_is_not_there_leaves_grids_out() -> None:
    def missing(_: EpisodeReport) -> BabyAIEnvironment:
        raise EnvironmentUnavailableError("BALROG is not installed")

    played = report_of(play(SPEC, random_actions(SPEC, 3)))
    ((_, scene),) = scenes({"key": played}, missing, NO_PROVENANCE)
    assert scene["episodes"]["key"]["grid"] is None
    assert len(scene["episodes"]["key"]["steps"]["action"]) == 3


def test_variants_on_one_level_share_its_layout() -> None:
    specs = [EpisodeSpec(variant, "open", 201) for variant in ("plain", "history")]
    reports = {str(spec): report_of(play(spec, random_actions(spec, 20))) for spec in specs}
    ((_, scene),) = scenes(reports, environment_of, NO_PROVENANCE)
    assert len(scene["layouts"]) == 1
    assert set(scene["episodes"]) == set(reports)


def test_a_scene_keeps_every_text_of_a_step() -> None:
    played = play(SPEC, random_actions(SPEC, 7), "null")
    found = scenes({"key": report_of(played)}, environment_of, NO_PROVENANCE)
    ((_, scene),) = found
    columns = scene["episodes"]["key"]["steps"]
    for name in ("observation", "thinking", "output", "candidate", "action"):
        texts = [scene["strings"][position] for position in columns[name]]
        assert texts == [getattr(step, name) for step in played.steps]


def test_no_thinking_is_not_the_word_null() -> None:
    played = play(SPEC, ["turn left", "turn left"])
    steps = [dataclasses.replace(played.steps[0], thinking=text) for text in (None, "null")]
    other = dataclasses.replace(played, steps=tuple(steps))
    ((_, scene),) = scenes({"key": report_of(other)}, None, NO_PROVENANCE)
    positions = scene["episodes"]["key"]["steps"]["thinking"]
    assert [scene["strings"][position] for position in positions] == [None, "null"]


def test_episodes_without_steps_have_no_scene() -> None:
    assert list(scenes({"key": report_of(solved())}, environment_of, NO_PROVENANCE)) == []


def test_packing_keeps_whatever_a_model_wrote() -> None:
    value = {"text": "</script> \u2028 \ud800 ünïcode", "numbers": [1, None, 0.5]}
    assert unpacked(pack(value)) == value


def test_what_is_packed_means_nothing_to_html() -> None:
    assert not set("<>&\"'") & set(pack(["</script>"] * 50))
