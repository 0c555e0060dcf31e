"""From a click to the painted answer, in Chromium, against a no-op Gradio click."""

import shutil
import statistics
from functools import partial
from pathlib import Path

import gradio as gr
import torch
from playwright.sync_api import Page, expect, sync_playwright

from explorer.backends.kv_cache import fork, new_cache
from explorer.backends.local import LocalBackend
from tests.browser.conftest import FLAGS
from tests.conftest import start_app
from tests.timing import computed, record

SHORT, LONG = 50, 500  # rows of the table
WARM_UP = 3
SETTLED_MS = 60

# Milliseconds from a click to the frame that paints what it changed.
CLICK = """([button, watched]) => new Promise(done => {
  const target = document.querySelector(watched), start = performance.now();
  const paint = () => requestAnimationFrame(() => done(performance.now() - start));
  const seen = new MutationObserver(() => { seen.disconnect(); paint(); });
  seen.observe(target, { subtree: true, childList: true, characterData: true });
  document.querySelector(button).click();
})"""
# The same for one notch of a slider.
SLIDE = """([watched]) => new Promise(done => {
  const slider = document.querySelector('#nte-temperature');
  const target = document.querySelector(watched), start = performance.now();
  const paint = () => requestAnimationFrame(() => done(performance.now() - start));
  const seen = new MutationObserver(() => { seen.disconnect(); paint(); });
  seen.observe(target, { subtree: true, childList: true, characterData: true });
  slider.stepUp();
  slider.dispatchEvent(new Event('input', { bubbles: true }));
})"""


def bench_click(models_dir: Path, backend: LocalBackend, n: int) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        print("no chromium here: click-to-paint not measured")
        return
    with gr.Blocks() as noop:
        count = gr.Number(0, elem_id="count")
        gr.Button("click", elem_id="noop").click(
            lambda x: x + 1, count, count, queue=False, show_progress="hidden"
        )
    _, noop_url, _ = noop.launch(prevent_thread_lock=True, quiet=True, ssr_mode=False)
    process, url = start_app(models_dir)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
            page, plain = browser.new_page(), browser.new_page()
            plain.goto(noop_url)
            plain.wait_for_selector("#noop")
            page.goto(url)
            page.wait_for_selector("tr.row")
            _report(page, plain, backend, n)
            browser.close()
    finally:
        process.terminate()
        noop.close()


def _report(page: Page, plain: Page, backend: LocalBackend, n: int) -> None:
    clicks, long_clicks, noops, slides, steps = [], [], [], [], []
    prefix = backend.encode("The capital of France is")
    cache = new_cache(backend.model.config)
    computed(lambda: backend.model(torch.tensor([prefix]), past_key_values=cache, use_cache=True))
    for turn in range(n + WARM_UP):
        # In turn, each in the tab that is in front: a hidden tab paints no frames.
        _in_front(plain)
        # A number input's value is no node of the DOM; Gradio redraws around it.
        noops.append(plain.evaluate(NOOP))
        _in_front(page)
        clicks.append(_sampled(page))
        slides.append(page.evaluate(SLIDE, ["[data-el=tbody]"]))
        page.wait_for_timeout(SETTLED_MS)
        _rows(page, LONG)
        long_clicks.append(_sampled(page))
        _rows(page, SHORT)
        past = fork(cache, len(prefix))
        token = torch.tensor([[1000 + turn]])
        step = partial(backend.model, token, past_key_values=past)
        steps.append(1e3 * computed(step))
    for times in (clicks, long_clicks, noops, slides, steps):
        del times[:WARM_UP]
    allowed = [noop + step for noop, step in zip(noops, steps, strict=True)]
    against = "a no-op Gradio click plus the bare cached step"
    sampled = "click to paint, one sampled token"
    record(
        f"{sampled}, {SHORT} rows",
        list(zip(clicks, allowed, strict=True)),
        against,
        "at most 15 ms more",
    )
    more = statistics.median(ours - most for ours, most in zip(clicks, allowed, strict=True))
    print(f"  {more:+.1f} ms, the median of pairs")
    record(
        f"{sampled}, {LONG} rows",
        list(zip(long_clicks, clicks, strict=True)),
        f"the same with {SHORT} rows",
        "at most 2×",
    )
    record(
        f"slider to paint, {SHORT} rows",
        list(zip(slides, noops, strict=True)),
        "a no-op Gradio click",
        "at most 1.5×",
    )


def _in_front(page: Page) -> None:
    page.bring_to_front()
    page.wait_for_timeout(SETTLED_MS)  # a tab that was hidden is painted as a whole first


def _sampled(page: Page) -> float:
    took: float = page.evaluate(CLICK, ["[data-do=sample]", "[data-el=chips]"])
    page.wait_for_timeout(SETTLED_MS)
    return took


def _rows(page: Page, count: int) -> None:
    """Show so many rows, and wait until all are drawn."""
    page.locator("[data-el=top-n]").fill(str(count))
    page.locator("[data-el=top-n]").press("Enter")
    expect(page.locator("tr.row")).to_have_count(count + 1)  # and one for all others
    page.wait_for_timeout(SETTLED_MS)


NOOP = """() => new Promise(done => {
  const input = document.querySelector('#count input');
  const before = input.value, start = performance.now();
  const paint = () => requestAnimationFrame(() => done(performance.now() - start));
  const look = () => input.value !== before ? paint() : setTimeout(look, 0);
  document.querySelector('#noop').click();
  look();
})"""
