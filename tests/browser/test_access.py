"""For those who can't see all of it, or have no mouse: contrast, names, keys, sizes, motion."""

from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.browser.steady import steady
from tests.ui.asking import FakeModels
from tests.ui.serving import served_models

pytestmark = pytest.mark.browser

PANELS = ("tree", "score", "ahead", "pins", "lens")
WIDE, PHONE = (1440, 900), (360, 740)
# Every pair of language, scheme and size.
LOOKS = [
    ("en", "light", WIDE),
    ("ja", "dark", WIDE),
    ("en", "dark", PHONE),
    ("ja", "light", PHONE),
]
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


@pytest.fixture(scope="module")
def models() -> FakeModels:
    return FakeModels(small=steady())


@pytest.fixture(scope="module")
def url(models: FakeModels) -> Iterator[str]:
    with served_models(models) as (_, found):
        yield found


@pytest.fixture(scope="module")
def everything(browser: Browser, url: str) -> Iterator[Page]:
    """A page with all that it can show open, and something in each."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, locale="en-US")
    opened = "".join(f"localStorage.setItem('nte-{name}', '1');" for name in PANELS)
    context.add_init_script(opened + "localStorage.setItem('nte-pinned', '[\" Paris\", \"東京\"]')")
    page = context.new_page()
    page.goto(url)
    ask(page, "The city of Paris is \n in France")
    page.get_by_label("rows").fill("12")
    page.get_by_label("rows").press("Enter")
    add_rules(page, "banned_sequences", "constraint", "dry", "xtc", "top_k", "mirostat_v2")
    page.locator("[data-rule=banned_sequences] .word-add input").fill(" the")
    page.locator("[data-rule=banned_sequences] .word-add input").press("Enter")
    page.locator("[data-do=sample-n]").click()
    expect(page.locator("[data-el=run-progress]")).to_have_text("20 of 20")
    page.locator("[data-act=pin]").last.click()
    page.locator("[data-ahead=side]").click()
    page.locator("[data-el=ahead-depth]").fill("4")
    page.locator("[data-el=ahead-run]").click()
    expect(page.locator("[data-el=ahead-body] tr")).to_have_count(3)
    page.locator("[data-el=roll]").click()
    expect(page.locator("[data-el=rolls]")).to_be_visible()
    settled(page)
    yield page
    context.close()


def ask(page: Page, text: str) -> None:
    page.locator("[data-el=prompt]").fill(text)
    page.locator("[data-el=ask]").click()
    expect(page.locator("[data-el=prompt-state]")).to_have_text("")
    settled(page)


def add_rules(page: Page, *steps: str) -> None:
    for step in steps:
        page.locator("[data-el=add-rule]").select_option(step)
        settled(page)


def settled(page: Page) -> None:
    expect(page.locator(".nte[aria-busy=true]")).to_have_count(0)
    expect(page.locator("[data-el=lens-box]:not(.stale)")).to_be_visible()


def dress(page: Page, language: str, scheme: str, size: tuple[int, int]) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.evaluate("dark => document.body.classList.toggle('dark', dark)", scheme == "dark")
    # By script: a dialog may be open before it.
    page.evaluate("one => document.querySelector(`[data-language=${one}]`).click()", language)
    expect(page.locator("html")).to_have_attribute("lang", language)


def serious(page: Page, part: str | None = None) -> list[str]:
    """What axe-core finds that keeps people out, and where: in a part of the page, or in all."""
    found = Axe().run(page, context=part, options=RULES).response["violations"]
    return [
        f"{one['id']} ({one['impact']}): {node['target']} {node['html'][:150]}"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


def at_rest(page: Page) -> None:
    pass


def the_ledger(page: Page) -> None:
    page.evaluate("document.querySelector('[data-view=ledger]').click()")
    expect(page.locator(".ledger tbody tr").first).to_be_attached()


def details_of_a_token(page: Page) -> None:
    page.locator(".chip").nth(1).click()
    expect(page.locator(".pop .main")).to_be_visible()


def the_help(page: Page) -> None:
    page.locator("[data-el=help]").click()


def the_chain_refused(page: Page) -> None:
    page.locator("[data-el=open-chain]").click()
    page.locator("[data-el=chain-json]").fill("[")
    page.locator("[data-el=chain-apply]").click()
    expect(page.locator("[data-el=chain-error]")).not_to_be_empty()


def the_comparison(page: Page) -> None:
    page.locator("[data-el=compare]").click()
    expect(page.locator("[data-el=compare-body] tr").first).to_be_visible()


def a_candidate(page: Page) -> None:
    page.locator(".listing .pick").nth(2).press("m")
    expect(page.locator("[data-el=menu-dialog]")).to_be_visible()


def an_error(page: Page) -> None:
    page.locator("[data-el=model]").select_option(value="")
    page.locator("[data-el=other-model]").fill("nothing")
    page.locator("[data-el=load-other]").click()
    expect(page.locator("[data-el=note]")).to_be_visible()


STATES = [
    (at_rest, None),
    (the_ledger, ".card.table"),
    (details_of_a_token, ".pop"),
    (the_help, "dialog[open]"),
    (the_chain_refused, "dialog[open]"),
    (the_comparison, "dialog[open]"),
    (a_candidate, "dialog[open]"),
    (an_error, ".note"),
]


@pytest.fixture
def page(everything: Page) -> Iterator[Page]:
    yield everything
    for close in everything.locator("dialog[open] .icon").all():
        close.click()
    everything.keyboard.press("Escape")
    everything.evaluate("document.querySelector('[data-view=table]').click()")
    everything.evaluate("document.querySelector('[data-el=note-close]').click()")
    dress(everything, *LOOKS[0])


@pytest.mark.parametrize(("state", "part"), STATES)
def test_nothing_keeps_anybody_out(page, state, part):
    state(page)
    for look in LOOKS:
        dress(page, *look)
        assert serious(page, part) == [], look


# Wider than its place, or cut off: but for what may scroll, and what ends in dots on purpose.
CUT = r"""() => {
  const page = document.documentElement, found = [];
  if (page.scrollWidth > innerWidth) found.push(`the page: ${page.scrollWidth}`);
  for (const node of document.querySelectorAll('.nte *')) {
    const looks = getComputedStyle(node), box = node.getBoundingClientRect();
    if (!box.width || node.closest('svg, select, textarea, .off-screen, .segments')) continue;
    const cut = looks.overflowX === 'hidden' && looks.textOverflow !== 'ellipsis';
    if (cut && node.scrollWidth > node.clientWidth + 1) found.push(`cut: ${node.className}`);
    const place = node.closest('.rows, .tree-box, .examples, .actions, .chips');
    if (!place && box.right > innerWidth + 1) found.push(`out: ${node.className} ${box.right}`);
  }
  return found;
}"""
SCROLLS = """() => [...document.querySelectorAll('.compare-box, .pins-table, .lens-table')]
  .filter(box => box.scrollWidth > box.clientWidth + 1)
  .map(box => `${box.dataset.el} ${box.scrollWidth} > ${box.clientWidth}`)"""


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("size", [PHONE, (640, 450)], ids=["phone", "zoomed"])
def test_nothing_is_wider_than_the_page_or_cut(page, language, size):
    """640 points are what a window of 1280 has at 200 %."""
    dress(page, language, "light", size)
    assert page.evaluate(CUT) == []
    assert page.evaluate(SCROLLS) == []
    the_comparison(page)
    assert page.evaluate(CUT) == []
    assert page.evaluate(SCROLLS) == []


def test_a_new_table_is_said_in_the_language_of_the_page(page):
    said = page.locator("[data-el=said]")
    expect(said).to_have_role("status")
    ask(page, "in")
    page.get_by_role("radio", name="Greedy").click()
    expect(said).to_have_text("Most probable next: ␣the, 100.00 %. Tokens left: 1.")
    page.locator("[data-language=ja]").click()
    expect(said).to_have_text("最も確率が高い次のトークン：␣the、100.00 %。残る候補：1 個。")
    an_error(page)
    expect(page.locator("[data-el=note]")).to_have_role("alert")


def test_a_model_on_its_way_keeps_nobody_out(page, models):
    models.phase = "downloading"
    try:
        page.locator("[data-el=ask]").click()
        expect(page.locator("[data-el=loading]")).to_be_visible()
        for look in LOOKS:
            dress(page, *look)
            assert serious(page, "[data-el=loading]") == [], look
    finally:
        models.phase = "ready"
    expect(page.locator("[data-el=loading]")).to_be_hidden()


def test_who_wants_no_motion_gets_none(page):
    moving = """() => [...document.querySelectorAll('.nte, .nte *')].filter(node => {
      const looks = getComputedStyle(node);
      return parseFloat(looks.transitionDuration) || looks.animationName !== 'none';
    }).length"""
    page.evaluate("document.querySelector('[data-el=lens-box]').classList.add('stale')")
    assert page.evaluate(moving) > 0
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(moving) == 0
    page.emulate_media(reduced_motion="no-preference")
    page.evaluate("document.querySelector('[data-el=lens-box]').classList.remove('stale')")
