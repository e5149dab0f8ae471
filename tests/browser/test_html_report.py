"""The HTML report in a real browser: charts, tables, replays, themes, and nothing that leaks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_babyai.environment.babyai import BabyAIEnvironment
from pytest_babyai.environment.observation import look
from pytest_babyai.records import EpisodeSpec
from pytest_babyai.reporting.html import write_html_report
from tests.browser.played_runs import (
    MARKUP,
    NUM_EPISODES,
    SEEDS,
    VARIANTS,
    environment_of,
    hostile_run,
    played_run,
    random_actions,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    OpenPage = Callable[..., Page]

KEY = "history-open-201"
HEADINGS = ("right", "down", "left", "up")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_html_report(path, played_run(), make_environment=environment_of)
    return path


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hostile") / "report.html"
    write_html_report(path, hostile_run(), make_environment=environment_of)
    return path


def rows(page: Page) -> list[str]:
    found: list[str] = page.eval_on_selector_all(
        "tbody tr[data-episode]", "rows => rows.map(row => row.dataset.episode)"
    )
    return found


def column(page: Page, name: str) -> list[str]:
    names = page.locator(".episodes thead th").evaluate_all("all => all.map(e => e.dataset.column)")
    return page.locator(f".episodes tbody td:nth-child({names.index(name) + 1})").all_inner_texts()


def counter(page: Page) -> str:
    return page.locator("#replay .bar.bottom output").inner_text()


def background(page: Page) -> str:
    return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))


def test_the_five_charts_are_drawn(open_page: OpenPage, report: Path) -> None:
    charts = open_page(report).locator("#results figure")

    titles = charts.locator("figcaption").evaluate_all("all => all.map(e => e.firstChild.data)")
    assert titles == [
        "Success rate",
        "Episode return",
        "Steps per episode",
        "Output tokens per episode",
        "Input tokens per episode",
    ]
    for number in range(5):
        box = charts.nth(number).locator("svg").bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) > 50


def test_a_chart_has_a_bar_for_every_variant(open_page: OpenPage, report: Path) -> None:
    bars = open_page(report).locator('[data-chart="steps"] [aria-roledescription="bar"]')
    labels = [bars.nth(number).get_attribute("aria-label") or "" for number in range(bars.count())]
    assert [label.split(":")[0] for label in labels] == list(VARIANTS)


def test_pointing_at_a_bar_tells_its_numbers(open_page: OpenPage, report: Path) -> None:
    page = open_page(report)
    page.locator('[data-chart="steps"] [aria-roledescription="bar"]').first.hover()
    assert page.locator("#tooltip").inner_text().startswith("plain: steps per episode")


def test_a_tab_shows_another_measure(open_page: OpenPage, report: Path) -> None:
    page = open_page(report)
    page.locator("#tasks").get_by_text("Steps", exact=True).click()
    assert page.locator("#by-task-steps").is_visible()
    assert not page.locator("#by-task-success").is_visible()


def test_a_small_multiple_is_drawn_for_every_task(open_page: OpenPage, report: Path) -> None:
    figures = open_page(report).locator("#by-task-success figure")
    assert figures.locator("figcaption").all_inner_texts() == ["goto", "open"]


def test_the_forest_plot_shows_the_other_variant(open_page: OpenPage, report: Path) -> None:
    plot = open_page(report).locator('[data-chart="difference-success"] svg')
    assert "history against variant plain" in (plot.inner_html())


def test_without_scripts_charts_and_means_are_still_there(
    open_page: OpenPage, report: Path
) -> None:
    page = open_page(report, java_script_enabled=False)
    assert page.locator("#results figure svg").count() == 5
    assert page.locator("#results tbody th").all_text_contents() == list(VARIANTS)
    assert not page.locator("#episodes").is_visible()


def test_failures_come_first(open_page: OpenPage, report: Path) -> None:
    outcomes = column(open_page(report), "outcome")
    assert len(outcomes) == NUM_EPISODES
    assert outcomes == sorted(outcomes, key=["error", "failed", "passed"].index)


def test_a_header_sorts_and_sorts_back(open_page: OpenPage, report: Path) -> None:
    page = open_page(report)
    header = page.get_by_role("button", name="Seed", exact=True)
    header.click()
    ascending = [int(seed) for seed in column(page, "seed")]
    header.click()
    descending = [int(seed) for seed in column(page, "seed")]
    assert ascending == sorted(ascending)
    assert descending == sorted(descending, reverse=True)


def test_a_sorted_column_says_so(open_page: OpenPage, report: Path) -> None:
    page = open_page(report)
    page.get_by_role("button", name="Steps", exact=True).click()
    assert page.locator('[data-column="steps"]').get_attribute("aria-sort") == "ascending"


def test_unknown_values_come_last(open_page: OpenPage, report: Path) -> None:
    page = open_page(report)
    header = page.get_by_role("button", name="Return", exact=True)
    for _ in range(2):
        header.click()
        assert column(page, "return")[-1] == "–"  # noqa: RUF001 -- as it is shown


@pytest.mark.parametrize(("name", "value"), [("variant", "history"), ("task", "goto")])
def test_a_filter_leaves_what_it_names(
    open_page: OpenPage, report: Path, name: str, value: str
) -> None:
    page = open_page(report)
    page.select_option(f'.filters [name="{name}"]', value)
    assert set(column(page, name)) == {value}
    assert page.locator(".filters output").inner_text() == "6 of 12 episodes"


def test_outcomes_can_be_filtered(open_page: OpenPage, report: Path) -> None:
    page = open_page(report)
    page.select_option('.filters [name="outcome"]', "error")
    assert rows(page) == ["history-open-202"]


def test_the_search_finds_error_messages(open_page: OpenPage, report: Path) -> None:
    page = open_page(report)
    page.fill('[name="text"]', "kept 429")
    assert rows(page) == ["history-open-202"]


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
    page.wait_for_selector("#replay:not([open])", state="attached")
    assert "#" not in page.url


def test_the_next_episode_is_the_next_row(open_page: OpenPage, report: Path) -> None:
    page = open_page(report)
    first, second, *_ = rows(page)
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


@pytest.mark.parametrize(("task", "seed"), [("open", SEEDS[1]), ("goto", SEEDS[0])])
def test_the_grid_is_the_environments_at_every_step(
    open_page: OpenPage, report: Path, task: str, seed: int
) -> None:
    spec = EpisodeSpec("history", task, seed)
    page = open_page(report, f"#episode={spec}")
    page.wait_for_selector("#replay[open]")
    environment = BabyAIEnvironment(task)
    environment.reset(seed=seed)
    drawn, expected = [drawn_state(page)], [expected_state(environment)]
    for action in random_actions(spec, 40):
        _, _, terminated, _, _ = environment.step(action)
        page.keyboard.press("ArrowRight")
        drawn.append(drawn_state(page))
        expected.append(expected_state(environment))
        if terminated:
            break
    assert drawn == expected


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


def test_the_system_may_prefer_dark(open_page: OpenPage, report: Path) -> None:
    light = background(open_page(report, color_scheme="light"))
    dark = background(open_page(report, color_scheme="dark"))
    assert (light, dark) == ("rgb(245, 246, 249)", "rgb(16, 20, 27)")


def test_the_reader_may_prefer_dark(open_page: OpenPage, report: Path) -> None:
    page = open_page(report, color_scheme="light")
    page.locator(".theme").get_by_text("Dark").click()
    assert background(page) == "rgb(16, 20, 27)"


def test_charts_change_with_the_theme(open_page: OpenPage, report: Path) -> None:
    page = open_page(report, color_scheme="light")
    color = "getComputedStyle(document.querySelector('[aria-roledescription=bar]')).fill"
    light = page.evaluate(color)
    page.locator(".theme").get_by_text("Dark").click()
    assert page.evaluate(color) != light


@pytest.mark.parametrize("fragment", ["", f"#episode={KEY}&step=7&with=plain-open-201"])
def test_a_small_screen_needs_no_sideways_scrolling(
    open_page: OpenPage, report: Path, fragment: str
) -> None:
    page = open_page(report, fragment, width=400)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 400


def test_markup_of_a_model_is_text(open_page: OpenPage, hostile: Path) -> None:
    page = open_page(hostile)
    page.locator("tbody tr[data-episode]").last.click()
    page.wait_for_selector("#replay[open]")
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    page.locator("#replay summary").click()

    assert page.locator(".thinking").inner_text() == f"thought 12 {MARKUP}"
    assert MARKUP in page.locator("#replay pre").inner_text()
    assert page.evaluate("window.broken") is None
    assert page.locator("img").count() == 0


def test_markup_of_providers_and_users_is_text(open_page: OpenPage, hostile: Path) -> None:
    page = open_page(hostile)
    assert page.locator("h1").inner_text().startswith(f"{MARKUP} on BabyAI-Text")
    assert f"rate limit: {MARKUP}" in column(page, "mission")
    assert page.evaluate("window.broken") is None


def test_injected_handlers_would_not_run(browser: Browser, report: Path) -> None:
    page = browser.new_page()
    page.goto(report.as_uri())
    refused = page.evaluate(
        """() => new Promise((resolve) => {
            document.addEventListener("securitypolicyviolation", () => resolve(true));
            const probe = document.createElement("div");
            probe.setAttribute("onclick", "window.broken = 1");
            document.body.append(probe);
            probe.click();
        })"""
    )
    assert refused
    assert page.evaluate("window.broken") is None
    page.close()
