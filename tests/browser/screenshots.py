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


def main(models_dir: Path) -> None:
    process, url = start_app(models_dir)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=FLAGS
            )
            for name, locale, show in (("en", "en-US", english), ("ja", "ja-JP", japanese)):
                size = {"width": 1440, "height": 900}
                page = browser.new_context(locale=locale, viewport=size).new_page()
                page.goto(url)
                expect(page.locator("tr.row").first).to_be_visible(timeout=120_000)
                show(page)
                page.wait_for_timeout(800)
                page.screenshot(path=IMAGES / f"{name}.png")
            browser.close()
    finally:
        process.terminate()


if __name__ == "__main__":
    main(default_models_dir())
