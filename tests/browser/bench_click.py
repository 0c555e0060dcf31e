"""From a click to the painted answer, in Chromium, against a no-op Gradio click."""

import shutil
import statistics
import time
from pathlib import Path

import gradio as gr
import torch
from playwright.sync_api import Page, sync_playwright

from explorer.backends.kv_cache import fork, new_cache
from explorer.backends.local import LocalBackend
from tests.browser.conftest import FLAGS
from tests.conftest import start_app

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
    clicks, noops, slides, steps = [], [], [], []
    prefix = backend.encode("The capital of France is")
    with torch.inference_mode():
        cache = new_cache(backend.model.config)
        backend.model(torch.tensor([prefix]), past_key_values=cache, use_cache=True)
    for turn in range(n + 3):
        # In turn, each in the tab that is in front: a hidden tab paints no frames.
        plain.bring_to_front()
        # A number input's value is no node of the DOM; Gradio redraws around it.
        noop = plain.evaluate(NOOP)
        page.bring_to_front()
        click = page.evaluate(CLICK, ["[data-do=sample]", "[data-el=chips]"])
        page.wait_for_timeout(60)
        slide = page.evaluate(SLIDE, ["[data-el=tbody]"])
        page.wait_for_timeout(60)
        past = fork(cache, len(prefix))
        start = time.perf_counter()
        with torch.inference_mode():
            backend.model(torch.tensor([[1000 + turn]]), past_key_values=past)
        if turn >= 3:
            steps.append((time.perf_counter() - start) * 1e3)
            clicks.append(click)
            noops.append(noop)
            slides.append(slide)
    click, noop, slide, step = map(statistics.median, (clicks, noops, slides, steps))
    print(f"click to paint, one sampled token, 50 rows\n  {click:8.2f} ms against")
    print(
        f"  {noop + step:8.2f} ms of a no-op Gradio click ({noop:.1f}) "
        f"plus the bare step ({step:.1f})"
    )
    print(f"  {click / (noop + step):.3f}× the time, {click - noop - step:+.1f} ms")
    print(f"slider to paint, 50 rows\n  {slide:8.2f} ms, {slide / noop:.2f}× a no-op Gradio click")


NOOP = """() => new Promise(done => {
  const input = document.querySelector('#count input');
  const before = input.value, start = performance.now();
  const paint = () => requestAnimationFrame(() => done(performance.now() - start));
  const look = () => input.value !== before ? paint() : setTimeout(look, 0);
  document.querySelector('#noop').click();
  look();
})"""
