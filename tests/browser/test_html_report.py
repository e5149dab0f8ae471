"""The HTML report in a real browser: charts, tables, themes, and nothing that leaks."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_babyai.records import EpisodeSpec
from tests.browser.conftest import write
from tests.browser.played_runs import MARKUP, NUM_EPISODES, VARIANTS, play, random_actions, run_of
from tests.unit.reporting.reporting_samples import solved

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Browser, Page

    OpenPage = Callable[..., Page]

KEY = "history-open-201"
AXE_PACKAGE = importlib.util.find_spec("axe_playwright_python")
AXE = Path(str(AXE_PACKAGE and AXE_PACKAGE.origin)).parent / "axe.min.js"


@pytest.fixture(scope="module")
def duel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two levels: one variant fails one of them, the other passes both."""
    lost = EpisodeSpec("history", "putnext", 200)
    specs = [EpisodeSpec(name, "putnext", seed) for name in VARIANTS for seed in (200, 201)]
    path = tmp_path_factory.mktemp("duel") / "report.html"
    outcomes = [play(s, random_actions(s, 5)) if s == lost else solved(s) for s in specs]
    write(path, run_of(outcomes))
    return path


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("many") / "report.html"
    specs = [EpisodeSpec("plain", "putnext", seed) for seed in range(10_000)]
    write(path, run_of([solved(spec) for spec in specs]))
    return path


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

    titles = charts.locator("figcaption").evaluate_all(
        "all => all.map(e => e.firstChild.data.trim())"
    )
    assert titles == [
        "Success rate",
        "Episode return",
        "Steps per episode",
        "Input tokens per episode",
        "Output tokens per episode",
    ]
    for number in range(5):
        box = charts.nth(number).locator(".bar").first.bounding_box()
        assert box is not None
        assert box["height"] > 10


def test_a_chart_has_a_bar_for_every_variant(open_page: OpenPage, report: Path) -> None:
    bars = open_page(report).locator('#results [data-chart="steps"] svg[role="img"]')
    labels = [bars.nth(number).get_attribute("aria-label") or "" for number in range(bars.count())]
    assert [label.split(":")[0] for label in labels] == list(VARIANTS)


def test_a_tab_shows_another_measure(open_page: OpenPage, report: Path) -> None:
    page = open_page(report)
    page.locator("#tasks").get_by_text("Steps", exact=True).click()
    assert page.locator("#by-task-steps").is_visible()
    assert not page.locator("#by-task-success").is_visible()


def test_a_small_multiple_is_drawn_for_every_task(open_page: OpenPage, report: Path) -> None:
    figures = open_page(report).locator("#by-task-success figure")
    titles = figures.locator("figcaption").all_inner_texts()
    assert [title.split()[0] for title in titles] == ["putnext", "open"]


def test_the_forest_plot_shows_the_other_variant(open_page: OpenPage, report: Path) -> None:
    plot = open_page(report).locator('[data-chart="difference-success"] svg[role="img"]')
    assert "history against variant plain" in str(plot.get_attribute("aria-label"))


def test_without_scripts_charts_and_means_are_still_there(
    open_page: OpenPage, report: Path
) -> None:
    page = open_page(report, java_script_enabled=False)
    assert page.locator("#results figure").count() == 5
    assert page.locator("#results figure .bar").count() == 5 * len(VARIANTS)
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
    color = "getComputedStyle(document.querySelector('.bar')).fill"
    light = page.evaluate(color)
    page.locator(".theme").get_by_text("Dark").click()
    assert page.evaluate(color) != light


@pytest.mark.parametrize("width", [390, 800, 1400])
@pytest.mark.parametrize("fragment", ["", f"#episode={KEY}&step=7&with=plain-open-201"])
def test_no_screen_needs_sideways_scrolling(
    open_page: OpenPage, report: Path, fragment: str, width: int
) -> None:
    page = open_page(report, fragment, width=width)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [390, 800, 1400])
def test_no_text_is_cut(open_page: OpenPage, report: Path, width: int) -> None:
    page = open_page(report, width=width)
    cut = page.evaluate(
        """() => [...document.querySelectorAll("main *, header *")].filter((element) => {
            const style = getComputedStyle(element);
            const mayScroll = ["auto", "scroll"].includes(style.overflowX);
            return !mayScroll && !element.closest(".hidden") && style.overflowX !== "visible"
                && style.textOverflow !== "ellipsis"
                && element.scrollWidth > element.clientWidth + 1;
        }).map((element) => element.outerHTML.slice(0, 120))"""
    )
    assert cut == []


@pytest.mark.parametrize("width", [390, 800, 1400])
def test_verdicts_are_on_the_first_screen(open_page: OpenPage, report: Path, width: int) -> None:
    page = open_page(report, width=width)
    for selector in (".verdicts li", "#gates .gate.failed"):
        box = page.locator(selector).last.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] < 900


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("fragment", ["", f"#episode={KEY}&step=7&with=plain-open-201"])
def test_it_is_accessible(open_page: OpenPage, report: Path, scheme: str, fragment: str) -> None:
    page = open_page(report, fragment, color_scheme=scheme)
    if fragment:
        page.wait_for_selector("#replay[open]")
        page.locator("#replay .prompt summary").first.click()
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    serious = [
        (each["id"], node["html"][:160], node["failureSummary"][:300])
        for each in found["violations"]
        if each["impact"] in {"serious", "critical"}
        for node in each["nodes"]
    ]
    assert serious == []


def test_a_cell_of_the_matrix_leads_to_its_episodes(open_page: OpenPage, report: Path) -> None:
    page = open_page(report)
    page.locator('#matrix a[href="#variant=history&task=open"]').click()
    page.wait_for_function("document.querySelectorAll('tbody tr[data-episode]').length === 3")
    assert {*column(page, "variant"), *column(page, "task")} == {"history", "open"}
    assert "variant=history&task=open" in page.url


def test_a_cell_of_the_grid_leads_to_its_seed(open_page: OpenPage, report: Path) -> None:
    page = open_page(report)
    page.locator('#matrix a[href="#variant=plain&seed=201"]').click()
    page.wait_for_function("document.querySelectorAll('tbody tr[data-episode]').length === 2")
    assert set(column(page, "seed")) == {"201"}


def test_a_finding_lists_its_episodes(open_page: OpenPage, report: Path) -> None:
    page = open_page(report)
    link = page.locator("#why a[href*='finding=invalid']").first
    number = int(link.inner_text().split()[0])
    link.click()
    page.wait_for_function("location.hash.includes('finding')")
    assert len(rows(page)) == number > 0


def test_levels_that_one_passed_and_another_failed_can_be_filtered(
    open_page: OpenPage, duel: Path
) -> None:
    page = open_page(duel)
    page.select_option('[name="won"]', "plain")
    page.select_option('[name="lost"]', "history")
    assert set(rows(page)) == {"plain-putnext-200", "history-putnext-200"}
    assert "won=plain&lost=history" in page.url


def test_filters_are_in_the_address_and_come_back(open_page: OpenPage, report: Path) -> None:
    page = open_page(report, "#variant=history&outcome=error&text=429&sort=-seed")
    assert rows(page) == ["history-open-202"]
    assert page.locator('[name="text"]').input_value() == "429"
    assert page.locator('[data-column="seed"]').get_attribute("aria-sort") == "descending"
    page.locator(".filters button[type=reset]").click()
    assert len(rows(page)) == NUM_EPISODES


def test_transcripts_can_be_searched(open_page: OpenPage, report: Path) -> None:
    page = open_page(report)
    page.check('[name="deep"]')
    page.fill('[name="text"]', "no such words")
    page.get_by_text("0 of 12 episodes").wait_for()
    page.fill('[name="text"]', "8 steps.")
    page.get_by_text("5 of 12 episodes").wait_for()
    assert set(column(page, "variant")) == {"history"}
    assert "deep=1" in page.url


def test_the_table_can_be_downloaded(open_page: OpenPage, report: Path) -> None:
    page = open_page(report, "#variant=history")
    with page.expect_download() as download:
        page.locator(".csv").click()
    assert download.value.suggested_filename == "20260131-1.csv"
    with Path(download.value.path()).open(encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert {row["variant"] for row in found} == {"history"}
    assert len(found) == 6
    assert found[0]["message"] == "the provider kept answering 429"


def test_ten_thousand_episodes_are_paged(open_page: OpenPage, many: Path) -> None:
    page = open_page(many)
    assert page.locator(".filters output").inner_text() == "10,000 episodes"
    assert len(rows(page)) == 100
    page.get_by_role("button", name="Next", exact=True).click()
    assert "page=2" in page.url
    assert len(rows(page)) == 100
    assert page.locator(".pages span").inner_text() == "Page 2 of 100"


def test_markup_of_a_model_is_text(open_page: OpenPage, hostile: Path) -> None:
    page = open_page(hostile)
    page.locator("tbody tr[data-episode]").last.click()
    page.wait_for_selector("#replay[open]")
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    page.locator("#replay .raw summary").click()

    assert page.locator(".thinking").inner_text() == f"thought 12 {MARKUP}"
    assert MARKUP in page.locator("#replay .raw pre").inner_text()
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
