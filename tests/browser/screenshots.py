"""Take the README's screenshots anew: `python -m tests.browser.screenshots`."""

import shutil
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from explorer.backends import default_models_dir
from tests.browser.conftest import FLAGS
from tests.conftest import ROOT, start_app

IMAGES = ROOT / "assets" / "images"


def english(page: Page) -> None:
    page.get_by_role("radio", name="Llama 3").click()
    for _ in range(4):
        page.keyboard.press("s")
        page.wait_for_timeout(700)
    page.locator(".chip").nth(5).hover()


def japanese(page: Page) -> None:
    page.get_by_role("button", name="織田信長は美少女").click()
    expect(page.locator(".chip").first).to_have_text("<bos>", timeout=180_000)
    page.get_by_role("radio", name="Top-p").click()
    page.get_by_role("button", name="%", exact=True).click()
    page.locator(".brand").click()


def ledger(page: Page) -> None:
    page.set_viewport_size({"width": 1440, "height": 1180})
    page.get_by_role("radio", name="llama.cpp").click()
    page.get_by_role("button", name="Ledger").click()
    expect(page.locator(".ledger td.cut-here").first).to_be_visible()


def cockpit(page: Page) -> None:
    page.get_by_role("radio", name="Mirostat v2").click()
    page.locator("[data-el=run-count]").fill("24")
    page.get_by_role("button", name="Sample ×N").click()
    expect(page.locator("[data-el=run-progress]")).to_have_text("24 of 24", timeout=60_000)
    page.get_by_role("button", name="Last draw").click()
    page.get_by_role("button", name="Roll 1,000 times").click()
    expect(page.locator("[data-el=rolls-says]")).to_contain_text("χ²")


def beyond(page: Page) -> None:
    page.locator("[data-el=prompt]").fill("日本の首都は")
    page.locator("[data-el=ask]").click()
    expect(page.locator("tr.row").first).to_contain_text("、")
    for name in ("pins", "lens", "ahead"):
        page.locator(f"[data-el={name}-open]").click()
    for word in ("東京", "だ"):
        page.locator("[data-el=pin-text]").fill(word)
        page.locator("[data-el=pin-add] button").click()
    page.locator("[data-el=ahead-run]").click()
    expect(page.locator("[data-el=ahead-run]")).to_be_visible(timeout=60_000)
    expect(page.locator("[data-el=lens-box]:not(.stale)")).to_be_visible(timeout=60_000)


PAGES = (
    ("en", "en-US", english, None),
    ("ja", "ja-JP", japanese, None),
    ("ledger", "en-US", ledger, ".card.table"),
    ("cockpit", "en-US", cockpit, ".lower"),
    ("beyond", "en-US", beyond, ".lower"),
)


def main(models_dir: Path) -> None:
    process, url = start_app(models_dir)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=FLAGS
            )
            for name, locale, show, part in PAGES:
                size = {"width": 1440, "height": 900}
                page = browser.new_context(locale=locale, viewport=size).new_page()
                page.goto(url)
                expect(page.locator("tr.row").first).to_be_visible(timeout=120_000)
                show(page)
                page.wait_for_timeout(800)
                shown = page.locator(part) if part else page
                shown.screenshot(path=IMAGES / f"{name}.png")
            browser.close()
    finally:
        process.terminate()


if __name__ == "__main__":
    main(default_models_dir())
