"""Going to a node of a tree of 2,000 nodes, against one of 20, in Chromium."""

import shutil
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

from explorer.backends.base import Backend
from tests.browser.conftest import FLAGS
from tests.browser.large_tree import load, session_file
from tests.conftest import start_app
from tests.timing import record

SMALL, LARGE = 20, 2000
WARM_UP = 4

# Milliseconds from a click on a token of the tree, or on a button, until the tree is painted.
CLICK = """([selector, number]) => new Promise(done => {
  const box = document.querySelector('[data-el=tree-box]');
  const painted = new MessageChannel();
  const target = [...document.querySelectorAll(selector)].find(
    one => number === null || one.nteNode === number);
  const seen = new MutationObserver(() => {
    seen.disconnect();
    requestAnimationFrame(() => painted.port2.postMessage(0));
  });
  seen.observe(box, { subtree: true, childList: true, attributeFilter: ['class'] });
  const start = performance.now();
  painted.port1.onmessage = () => done(performance.now() - start);
  target.click();
})"""


def bench_tree(models_dir: Path, backend: Backend, n: int) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        print("no chromium here: the tree of 2,000 nodes not measured")
        return
    process, url = start_app(models_dir)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
            pages = {count: _opened(browser, url, backend, count) for count in (SMALL, LARGE)}
            _report("going to a node", pages, n, "at most 1.5×")
            _report("a step", pages, n, "none set", step=True)
            browser.close()
    finally:
        process.terminate()


def _opened(browser: Browser, url: str, backend: Backend, count: int) -> Page:
    page = browser.new_page()
    page.goto(url)
    page.wait_for_selector("tr.row")
    page.locator("[data-el=tree-open]").click()
    load(page, session_file(backend, count))
    expect(page.locator(".tree-token")).to_have_count(count + 1, timeout=60_000)
    return page


def _report(name: str, pages: dict[int, Page], n: int, target: str, *, step: bool = False) -> None:
    """In turn, each in the tab that is in front: a hidden tab paints no frames."""
    times: dict[int, list[float]] = {count: [] for count in pages}
    for turn in range(n + WARM_UP):
        for count, page in pages.items():
            page.bring_to_front()
            node = 4 if turn % 2 else count - 4  # near the top, and at the end
            went = page.evaluate(CLICK, [".tree-token", node])
            page.wait_for_timeout(60)
            if step:
                went = page.evaluate(CLICK, ["[data-do=step]", None])
                page.wait_for_timeout(60)
            if turn >= WARM_UP:
                times[count].append(went)
    record(
        f"{name} of a tree of {LARGE:,} nodes",
        list(zip(times[LARGE], times[SMALL], strict=True)),
        f"the same in a tree of {SMALL}",
        target,
    )
