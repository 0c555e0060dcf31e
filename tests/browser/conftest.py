"""Chromium as a user's browser: Debian's, driven by Playwright."""

import shutil
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
Open = Callable[..., Page]

expect.set_options(timeout=20_000)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("there is no chromium on this machine")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def open_page(browser: Browser, app_url: str) -> Iterator[Open]:
    """Opens the app in a fresh browser profile; any error in the page fails the test."""
    contexts, problems = [], []

    def open_one(
        *,
        locale: str = "en-US",
        width: int = 1440,
        height: int = 900,
        query: str = "",
        url: str = "",
    ) -> Page:
        context = browser.new_context(
            locale=locale, viewport={"width": width, "height": height}, accept_downloads=True
        )
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto((url or app_url) + query)
        expect(page.locator("tr.row").first).to_be_visible()
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert problems == []
