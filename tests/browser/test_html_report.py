"""The HTML report in a real browser: charts, tables, themes, and nothing that leaks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.browser.played_runs import MARKUP, NUM_EPISODES, VARIANTS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    OpenPage = Callable[..., Page]

KEY = "history-open-201"


def rows(page: Page) -> list[str]:
    found: list[str] = page.eval_on_selector_all(
        "tbody tr[data-episode]", "rows => rows.map(row => row.dataset.episode)"
    )
    return found


def column(page: Page, name: str) -> list[str]:
    names = page.locator(".episodes thead th").evaluate_all("all => all.map(e => e.dataset.column)")
    return page.locator(f".episodes tbody td:nth-child({names.index(name) + 1})").all_inner_texts()


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
    assert figures.locator("figcaption").all_inner_texts() == ["putnext", "open"]


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


@pytest.mark.parametrize(("name", "value"), [("variant", "history"), ("task", "putnext")])
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
