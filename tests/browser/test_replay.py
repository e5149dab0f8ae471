"""Replays in a real browser: every step as the environment had it, by key, button and link."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_babyai.environment.babyai import BabyAIEnvironment
from pytest_babyai.environment.observation import look
from pytest_babyai.records import EpisodeSpec
from tests.browser.played_runs import random_actions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Page

    OpenPage = Callable[..., Page]

KEY = "history-open-201"
HEADINGS = ("right", "down", "left", "up")


def counter(page: Page) -> str:
    return page.locator("#replay .bar.bottom output").inner_text()


def test_a_click_on_a_row_opens_its_replay(open_page: OpenPage, report: Path) -> None:
    page = open_page(report)
    page.locator(f'tr[data-episode="{KEY}"] td.mission').click()
    page.wait_for_selector("#replay[open]")
    assert page.locator(".pane").get_attribute("data-episode") == KEY
    assert "step=1" in page.url


def test_a_link_opens_an_episode_at_a_step(open_page: OpenPage, report: Path) -> None:
    page = open_page(report, f"#episode={KEY}&step=7")
    page.wait_for_selector("#replay[open]")
    assert counter(page) == "Step 7 of 40"
    assert page.locator(".thinking").inner_text().strip() == "thought 7"


def test_an_unknown_episode_opens_nothing(open_page: OpenPage, report: Path) -> None:
    page = open_page(report, "#episode=history-goto-999&step=7")
    assert page.locator("#replay[open]").count() == 0


def test_arrows_step_forward_and_back(open_page: OpenPage, report: Path) -> None:
    page = open_page(report, f"#episode={KEY}&step=3")
    page.wait_for_selector("#replay[open]")
    page.keyboard.press("ArrowRight")
    assert counter(page) == "Step 4 of 40"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert counter(page) == "Step 2 of 40"


def test_buttons_step_forward_and_back(open_page: OpenPage, report: Path) -> None:
    page = open_page(report, f"#episode={KEY}")
    page.get_by_label("Step forward").click()
    page.get_by_label("Step forward").click()
    page.get_by_label("Step back").click()
    assert counter(page) == "Step 2 of 40"


def test_the_slider_moves_the_replay(open_page: OpenPage, report: Path) -> None:
    page = open_page(report, f"#episode={KEY}")
    page.locator('#replay input[type="range"]').fill("20")
    assert page.locator(".thinking").inner_text().strip() == "thought 21"


def test_playing_ends_behind_the_last_step(open_page: OpenPage, report: Path) -> None:
    page = open_page(report, f"#episode={KEY}&step=36")
    page.select_option('[name="speed"]', "16")
    page.keyboard.press("Tab")
    page.get_by_label("Play or pause").click()
    page.get_by_text("End of 40 steps").wait_for()
    assert page.get_by_label("Play or pause").inner_text() == "Play"
    assert "below" not in page.locator(".end").inner_text()
    assert "Progression 0.00, wanted 1.00" in page.locator(".end").inner_text()


def test_escape_closes_the_replay(open_page: OpenPage, report: Path) -> None:
    page = open_page(report, f"#episode={KEY}")
    page.wait_for_selector("#replay[open]")
    page.keyboard.press("Escape")
    page.wait_for_function("location.hash === ''")
    assert not page.locator("#replay").is_visible()


def test_the_next_episode_is_the_next_row(open_page: OpenPage, report: Path) -> None:
    page = open_page(report)
    listed = page.locator("tbody tr[data-episode]")
    first, second = (listed.nth(n).get_attribute("data-episode") for n in range(2))
    page.locator(f'tr[data-episode="{first}"] a').click()
    page.wait_for_selector("#replay[open]")
    page.keyboard.press("n")
    page.wait_for_selector(f'.pane[data-episode="{second}"]')
    assert page.locator(".pane").count() == 1


def test_an_error_without_steps_tells_its_message(open_page: OpenPage, report: Path) -> None:
    page = open_page(report, "#episode=history-open-202")
    page.wait_for_selector("#replay[open]")
    assert "the provider kept answering 429" in page.locator(".pane .empty").inner_text()


def test_two_variants_stand_side_by_side(open_page: OpenPage, report: Path) -> None:
    page = open_page(report, f"#episode={KEY}&step=5")
    page.wait_for_selector("#replay[open]")
    page.locator('#replay [name="with"]').select_option("plain-open-201")
    page.wait_for_selector(".pane + .pane")
    panes = page.locator(".pane")
    left, right = panes.nth(0).bounding_box(), panes.nth(1).bounding_box()
    assert left is not None
    assert right is not None
    assert right["x"] >= left["x"] + left["width"]
    assert "with=plain-open-201" in page.url
    assert panes.locator(".thinking").all_inner_texts() == ["thought 5 ", "thought 5 "]


def test_an_invalid_answer_is_pointed_out(open_page: OpenPage, report: Path) -> None:
    actions = random_actions(EpisodeSpec("history", "open", 201), 40)
    number = next(n for n in range(5, 41, 5) if actions[n - 1] == "go forward")
    page = open_page(report, f"#episode={KEY}&step={number}")
    assert "no known action" in page.locator(".remark").inner_text()


@pytest.mark.parametrize(("variant", "task"), [("plain", "open"), ("history", "putnext")])
def test_the_grid_is_the_environments_at_every_step(
    open_page: OpenPage, report: Path, variant: str, task: str
) -> None:
    spec = EpisodeSpec(variant, task, 202)
    page = open_page(report, f"#episode={spec}")
    page.wait_for_selector("#replay[open]")
    environment = BabyAIEnvironment(task)
    environment.reset(seed=spec.seed)
    drawn, expected = [drawn_state(page)], [expected_state(environment)]
    for action in random_actions(spec, 40):
        _, _, terminated, _, _ = environment.step(action)
        page.keyboard.press("ArrowRight")
        drawn.append(drawn_state(page))
        expected.append(expected_state(environment))
        if terminated:
            break
    assert drawn == expected
    assert len({tuple(state["things"]) for state in drawn}) > 1


def drawn_state(page: Page) -> dict[str, Any]:
    state: dict[str, Any] = page.evaluate(
        """() => ({
            label: document.querySelector(".world svg").getAttribute("aria-label"),
            things: [...document.querySelectorAll(".world .thing title")].map(e => e.textContent),
            numHidden: document.querySelectorAll(".world .fog").length,
        })"""
    )
    return state


def expected_state(environment: BabyAIEnvironment) -> dict[str, Any]:
    state = environment.snapshot()
    agent, held = state["agent"], state["carrying"]
    heading = HEADINGS[agent["direction"]]
    label = f"Agent at column {agent['x']}, row {agent['y']}, facing {heading}"
    if held:
        label += f", carrying a {held['color']} {held['type']}"
    cells = [cell for row in state["cells"] for cell in row]
    things = [cell for cell in cells if cell and cell["type"] != "wall"]
    world = environment._episode.world
    walls, width = world.layout.walls, world.layout.width
    sight = look(width, walls, world.opaque, world.position, world.direction)
    num_free = sum(not (cell and cell["type"] == "wall") for cell in cells)
    return {
        "label": label,
        "things": [
            " ".join(filter(None, (thing["state"], thing["color"], thing["type"])))
            for thing in things
        ],
        "numHidden": num_free - len(sight.places) - 1,
    }


def test_the_messages_are_shown_as_they_were_sent(open_page: OpenPage, report: Path) -> None:
    page = open_page(report, f"#episode={KEY}&step=3&with=plain-open-201")
    page.wait_for_selector("#replay[open]")
    for number in range(2):
        page.locator("#replay .prompt summary").nth(number).click()
    assert page.locator(".sent pre.system").all_inner_texts() == ["Rules of the world"] * 2
    history, plain = page.locator(".sent pre.user").all_inner_texts()
    assert history.startswith("2 steps.\n")
    assert plain.startswith("open the ")
    page.keyboard.press("ArrowRight")
    assert page.locator(".sent pre.user").first.inner_text().startswith("3 steps.\n")


def test_a_step_tells_its_finish_reason(open_page: OpenPage, report: Path) -> None:
    page = open_page(report, f"#episode={KEY}&step=3")
    assert "finish reason stop · demo-1" in page.locator(".told .spent").inner_text()


def test_a_finding_leads_to_its_first_step(open_page: OpenPage, report: Path) -> None:
    page = open_page(report, f"#episode={KEY}")
    page.locator(".findings button", has_text="invalid answer").click()
    assert "no known action" in page.locator(".remark").inner_text()


def test_the_command_that_plays_it_again_can_be_copied(open_page: OpenPage, report: Path) -> None:
    page = open_page(report, f"#episode={KEY}", permissions=["clipboard-read", "clipboard-write"])
    page.wait_for_selector("#replay[open]")
    page.keyboard.press("End")
    page.locator(".copy").click()
    page.get_by_role("button", name="Copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == page.locator(".command").inner_text() == f"pytest 'test.py::test[{KEY}]'"


def test_the_strip_has_a_legend(open_page: OpenPage, report: Path) -> None:
    page = open_page(report, f"#episode={KEY}")
    assert "invalid answer" in page.locator(".legend").inner_text()


def test_closing_a_replay_keeps_the_filters(open_page: OpenPage, report: Path) -> None:
    page = open_page(report, f"#variant=history&episode={KEY}&step=2")
    page.wait_for_selector("#replay[open]")
    page.keyboard.press("Escape")
    page.wait_for_function("location.hash === '#variant=history'")
