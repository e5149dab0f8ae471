"""A headless Chromium that cannot reach anything, and pages that must not complain."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, NoReturn

import pytest

from pytest_babyai.reporting.artifacts import write_artifacts
from pytest_babyai.reporting.screenshots import BROWSERS
from tests.browser.played_runs import environment_of, hostile_run, played_run, summary_of
from tests.patience import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    from pytest_babyai.reporting.results import RunReport

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def cannot_run(reason: str) -> NoReturn:
    if os.environ.get("BABYAI_REQUIRE_BROWSER") == "1":
        pytest.fail(f"{reason}, and BABYAI_REQUIRE_BROWSER=1", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        cannot_run("no Chromium on PATH")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        cannot_run("playwright is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens a file; in the end it must have logged no error and asked for nothing else."""
    contexts, problems, requests = [], [], []
    allowed = set()

    def open_file(path: Path, fragment: str = "", *, width: int = 1400, **options: object) -> Page:
        viewport = {"width": width, "height": 900}
        context = browser.new_context(viewport=viewport, **options)  # type: ignore[arg-type]
        contexts.append(context)
        context.set_offline(True)
        context.set_default_timeout(PATIENCE_S * 1000)
        page = context.new_page()
        page.on("console", lambda message: problems.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: requests.append(request.url.partition("#")[0]))
        allowed.update({path.as_uri(), "data:,"})
        page.goto(path.as_uri() + fragment)
        if options.get("java_script_enabled", True):
            page.wait_for_selector("tbody tr[data-episode]")
        return page

    yield open_file
    for context in contexts:
        context.close()
    assert problems == []
    assert set(requests) <= allowed


def write(path: Path, run: RunReport) -> None:
    """Writes the report of a run."""
    list(write_artifacts({"html": path}, summary_of(run), make_environment=environment_of))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write(path, played_run())
    return path


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hostile") / "report.html"
    write(path, hostile_run())
    return path
