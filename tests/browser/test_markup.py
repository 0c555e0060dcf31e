"""Nothing that anybody can write is more than text: every surface of the page, on hostile tokens.

The model's own vocabulary is hostile, so are its name and whatever is typed, named or loaded.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from explorer.backends import ScriptedBackend
from explorer.backends.base import Backend, LoadStatus, ModelChoice, ModelUnavailable
from explorer.views import printable
from explorer.views.text import readable
from tests.browser.hostile import MARKUP, NAMES, TEMPLATES, TEXTS, TOKENS, UNSEEN
from tests.browser.watching import Watched
from tests.ui.asking import FakeModels
from tests.ui.serving import served_models

pytestmark = pytest.mark.browser

NAME = "</script><script>pwned=1</script>\u202e<img src=x onerror=pwned=1>"
IN_A_VOCABULARY = re.compile(rb"^</?[a-z]{1,10}>$|^onerror$|^onload$|^javascript$|\$\{$|^\{\{+")
SHOWN_AT_ONCE = 20  # the bars of the chart


class HostileBackend(ScriptedBackend):
    """Other tokens come first after each length, so that all come by in the chart and the dice."""

    def next_distribution(self, prefix):
        if prefix not in self._script:
            rank = np.arange(self.info.vocab_size) - SHOWN_AT_ONCE * len(prefix)
            self._script[prefix] = np.exp(-0.05 * (rank % self.info.vocab_size))
        return super().next_distribution(prefix)


class HostileModels(FakeModels):
    default = NAME

    def choices(self) -> tuple[ModelChoice, ...]:
        return (ModelChoice(NAME, NAME, NAME, ("en", NAME), NAME, NAME, True),)

    def request(self, name: str) -> LoadStatus:
        if name not in self.backends:
            raise ModelUnavailable("unknown", f"there is no model {name!r}", model=name)
        return self.status(name)


def real_tokens(backend: Backend) -> list[bytes]:
    """Tokens of a real vocabulary that are markup or a template."""
    raws = (backend.token(token_id).raw for token_id in range(backend.info.vocab_size))
    return [raw for raw in raws if IN_A_VOCABULARY.search(raw)]


@pytest.fixture(scope="module")
def backend(smollm2: Backend, gemma3: Backend) -> HostileBackend:
    real = real_tokens(smollm2) + real_tokens(gemma3)
    assert b"<img>" in real and b"<iframe>" in real and b"${" in real
    vocabulary = dict.fromkeys([*TOKENS, *real, *(bytes([value]) for value in range(256))])
    made = HostileBackend(list(vocabulary), context_length=4000, chat=True, model_id=NAME)
    made.info = replace(made.info, licence=NAME, dtype=NAME, device=NAME, tokenizer_family=NAME)
    return made


@pytest.fixture(scope="module")
def watched(browser: Browser, backend: HostileBackend) -> Iterator[Watched]:
    with served_models(HostileModels(**{NAME: backend})) as (_, url):
        context = browser.new_context(
            locale="en-US", viewport={"width": 1440, "height": 900}, accept_downloads=True
        )
        context.add_init_script(
            "for (const name of ['tree', 'score', 'ahead', 'pins', 'lens'])"
            " localStorage.setItem('nte-' + name, '1');"
        )
        found = Watched(context, url)
        found.page.goto(url)
        expect(found.page.locator("tr.row").first).to_be_visible()
        yield found
        context.close()


@pytest.fixture
def page(watched: Watched) -> Iterator[Page]:
    """The same page for all: what one test leaves is hostile, too."""
    yield watched.page
    assert watched.found() == []


def texts(found: Locator) -> list[str]:
    return found.evaluate_all("nodes => nodes.map(node => node.textContent)")


def ask(page: Page, text: str) -> str:
    """Types the text; what the box made of it."""
    page.locator("[data-el=prompt]").fill(text)
    typed = page.locator("[data-el=prompt]").input_value()
    page.locator("[data-el=ask]").click()
    expect(page.locator("[data-el=prompt-state]")).to_have_text("")
    settled(page)
    return typed


def settled(page: Page) -> None:
    expect(page.locator(".nte[aria-busy=true]")).to_have_count(0)


def shown(backend: Backend, token_ids: tuple[int, ...]) -> list[str]:
    return [printable(backend.token(token_id).raw) for token_id in token_ids]


def test_every_hostile_text_is_a_chip_and_its_box(page, backend):
    typed = ask(page, "".join(TEXTS))
    wanted = shown(backend, backend.encode(typed))
    assert len(wanted) >= len(TEXTS)
    assert texts(page.locator(".chip")) == wanted
    for place in range(0, len(TEXTS), 12):
        page.locator(".chip").nth(place).hover()
        expect(page.locator(".pop strong")).to_have_text(wanted[place], use_inner_text=False)
    labels = page.locator(".chip").evaluate_all("all => all.map(one => one.ariaLabel)")
    assert all(text in label for text, label in zip(wanted, labels, strict=True))


def show_all(page: Page, backend: Backend) -> list[str]:
    """Every token in the table; how each is shown."""
    page.locator("[data-el=top-n]").fill("500")
    page.locator("[data-el=top-n]").press("Enter")
    vocabulary = shown(backend, tuple(range(backend.info.vocab_size)))
    expect(page.locator(".listing tr.row:not(.other)")).to_have_count(len(vocabulary))
    return vocabulary


def show_few(page: Page) -> None:
    page.locator("[data-el=top-n]").fill("20")
    page.locator("[data-el=top-n]").press("Enter")
    expect(page.locator(".listing tr.row:not(.other)")).to_have_count(20)


def test_the_table_shows_the_whole_hostile_vocabulary(page, backend):
    ask(page, "a")
    vocabulary = show_all(page, backend)
    assert sorted(texts(page.locator(".listing .pick"))) == sorted(vocabulary)
    assert len(set(vocabulary)) == len(vocabulary)


def test_two_tokens_never_look_alike(page, backend):
    """Pictures of tokens that differ in what can't be seen only."""
    ask(page, "a")
    show_all(page, backend)
    pictures: dict[bytes, str] = {}
    for text in [one for one in UNSEEN if "a" in one or "\u0301" in one]:
        row = page.locator(".listing .pick").filter(has_text=exactly(printable(text.encode())))
        row.first.scroll_into_view_if_needed()
        picture = row.first.screenshot()
        assert picture not in pictures, (text, pictures[picture])
        pictures[picture] = text
    assert len(pictures) > 20


def exactly(text: str) -> re.Pattern[str]:
    return re.compile(f"^{re.escape(text)}$")


def use_chain(page: Page, chain: list[dict]) -> None:
    page.locator("[data-el=open-chain]").click()
    page.locator("[data-el=chain-json]").fill(json.dumps(chain))
    page.locator("[data-el=chain-apply]").click()
    expect(page.locator("[data-el=chain-dialog]")).to_be_hidden()
    settled(page)


def test_the_ledger_the_menu_and_the_rules(page, backend):
    bans = [[token_id] for token_id in range(len(MARKUP))]
    bias = {str(token_id): 1.0 for token_id in range(len(MARKUP), len(TOKENS))}
    grammar = {"step": "constraint", "regex": r"(?s).*(<img src=x onerror=pwned=1>\u202e)?"}
    ask(page, "a")
    use_chain(
        page,
        [
            {"step": "banned_sequences", "sequences": bans},
            {"step": "logit_bias", "bias": bias},
            grammar,
            {"step": "top_k", "k": 40},
            {"step": "mirostat_v2", "tau": 5.0, "eta": 0.1},
        ],
    )
    words = shown(backend, tuple(range(len(MARKUP))))
    assert texts(page.locator("[data-rule=banned_sequences] .word span:first-child")) == words
    vocabulary = show_all(page, backend)
    page.locator("[data-view=ledger]").click()
    expect(page.locator(".ledger .pick")).to_have_count(len(vocabulary))
    assert sorted(texts(page.locator(".ledger .pick"))) == sorted(vocabulary)
    for text in (MARKUP[0], TEMPLATES[0], "\u202eabc"):
        token = printable(text.encode())
        page.locator(".ledger .pick").filter(has_text=exactly(token)).first.press("m")
        expect(page.locator("[data-el=menu-title]")).to_have_text(token)
        page.locator("[data-el=menu-close]").click()
    page.locator("[data-view=table]").click()
    page.locator("[data-el=rules] .tick").first.hover()


def test_draws_dials_tree_and_score(page, backend, watched):
    ask(page, "a")
    show_few(page)
    use_chain(page, [{"step": "mirostat_v2", "tau": 5.0, "eta": 0.1}])
    page.locator("[data-el=run-count]").fill("4")
    page.locator("[data-do=sample-n]").click()
    expect(page.locator("[data-el=run-progress]")).to_have_text("4 of 4")
    settled(page)
    chips = texts(page.locator(".chip"))
    path = texts(page.locator("[data-el=tree-box] .on-path"))
    assert path == chips[1:]
    expect(page.locator("[data-el=dial-chart] svg title").first).to_contain_text(chips[1])
    box = page.locator("[data-el=score-box] svg").bounding_box()
    assert box
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 20)
    for which in ("last", "next"):
        page.locator(f"[data-draw={which}]").click()
        page.locator("[data-el=roll]").click()
        expect(page.locator("[data-el=rolls-body] tr").first).to_be_visible()
    bars = texts(page.locator("[data-el=chart] .pair title"))
    rows = texts(page.locator(".listing .pick"))[:SHOWN_AT_ONCE]
    assert [bar.split("  ")[0].strip("\u2068\u2069") for bar in bars] == rows


def name_branch(page: Page, name: str) -> None:
    page.locator("[data-act=name]").last.click()
    page.get_by_label("Name this branch").last.fill(name)
    page.keyboard.press("Enter")
    settled(page)


def test_names_and_branches_side_by_side(page, backend):
    ask(page, "a")
    page.locator(".listing .pick").nth(3).click()
    settled(page)
    for name in (*NAMES[:2], TEMPLATES[1], "\u202ecba\u200b", NAME):
        name_branch(page, name)
        wanted = printable(name.encode()).replace("␣", " ")
        expect(page.locator(".tree-name")).to_have_text(wanted)
    page.locator("[data-el=compare]").click()
    expect(page.locator("[data-el=compare-body] .branch-go").first).to_contain_text(wanted)
    page.locator("[data-el=compare-close]").click()


def test_looking_ahead(page, backend):
    ask(page, "a")
    show_few(page)
    for kind, depth in (("beam", 2), ("cover", 1), ("side", 2)):
        page.locator(f"[data-ahead={kind}]").click()
        page.locator("[data-el=ahead-depth]").fill(str(depth))
        page.locator("[data-el=ahead-run]").click()
        expect(page.locator("[data-el=ahead-run]")).to_be_visible()
        path = page.locator("[data-el=ahead-body] .branch-text span:not(.sign)").first
        expect(path).to_be_visible()
        begins = readable(backend.token(SHOWN_AT_ONCE).raw)
        assert path.evaluate("node => node.textContent").startswith(begins)


def test_pinned_words_and_the_next_character(page, backend):
    ask(page, "a")
    words = [MARKUP[2], TEMPLATES[1], NAMES[0], "\u202eabc", "a\u200b"]
    for word in words:
        page.locator("[data-el=pin-text]").fill(word)
        page.locator("[data-el=pin-add] button").click()
    expect(page.locator("[data-el=pins-box]:not(.stale)")).to_be_visible()
    expect(page.locator("[data-el=lens-box]:not(.stale)")).to_be_visible()
    assert texts(page.locator(".pin-text")) == shown_words(words)
    characters = texts(page.locator(".lens-character"))
    assert "<" in characters and "⟨U+202E⟩" in characters
    assert len(set(characters)) == len(characters)
    page.reload()
    expect(page.locator(".pin-text")).to_have_count(len(words))


def shown_words(words: list[str]) -> list[str]:
    return [printable(word.encode()) for word in words]


def test_a_chat_with_markup(page, backend):
    page.locator("[data-mode=chat]").click()
    typed = ask(page, "".join(MARKUP + TEMPLATES))
    assert texts(page.locator(".chip")) == shown(backend, backend.encode(typed))
    page.locator("[data-mode=completion]").click()
    settled(page)


def test_errors_name_what_was_wrong_as_text(page, tmp_path: Path):
    ask(page, "a")
    note = page.locator("[data-el=note-text]")
    for wrong in (MARKUP[2], "\u202eledom", TEMPLATES[1], "../../etc/passwd\x00"):
        page.locator("[data-el=model]").select_option(value="")
        page.locator("[data-el=other-model]").fill(wrong)
        page.locator("[data-el=load-other]").click()
        expect(note).to_contain_text(printable(wrong.strip().encode()).replace("␣", " "))
        page.locator("[data-el=note-close]").click()
    for state in (MARKUP[2], json.dumps({"model": {"name": MARKUP[2]}, "format": MARKUP[3]})):
        file = tmp_path / "session.json"
        file.write_text(state)
        page.locator("[data-el=file]").set_input_files(file)
        expect(note).to_be_visible()
        page.locator("[data-el=note-close]").click()
    page.evaluate("part => { location.hash = '#s=1.' + part; }", MARKUP[2])
    expect(note).to_contain_text("can't be loaded")
    page.locator("[data-el=open-chain]").click()
    for chain in (MARKUP[2], json.dumps([{"step": MARKUP[2], TEMPLATES[1]: "\u202e"}])):
        page.locator("[data-el=chain-json]").fill(chain)
        page.locator("[data-el=chain-apply]").click()
        expect(page.locator("[data-el=chain-error]")).to_contain_text("<img src=x")
    page.locator("[data-el=chain-close]").click()


def test_a_session_with_hostile_names_travels(page, watched, tmp_path: Path):
    ask(page, "".join(MARKUP[:4]))
    page.locator(".listing .pick").nth(1).click()
    settled(page)
    name_branch(page, NAME)
    file = saved(page, "json", tmp_path)
    ask(page, "a")
    page.locator("[data-el=file]").set_input_files(file)
    expect(page.locator("[data-el=prompt]")).to_have_value("".join(MARKUP[:4]))
    expect(page.locator(".tree-name").first).to_contain_text("<img src=x")
    expect(page.locator("[data-el=model] option:checked")).to_contain_text("⟨U+202E⟩<img src=x")


def saved(page: Page, action: str, folder: Path) -> Path:
    with page.expect_download() as download:
        page.locator(f"[data-do={action}]").click()
    file = folder / action
    download.value.save_as(file)
    return file


def test_files_to_take_home_hold_text(page, backend, tmp_path: Path):
    ask(page, "a")
    show_all(page, backend)
    table = pd.read_csv(saved(page, "csv", tmp_path), keep_default_na=False, dtype=str)
    by_id = {int(row["token_id"]): row for row in table.to_dict("records")}
    for token_id, raw in enumerate(TOKENS):
        token = printable(raw)
        guarded = "'" + token if token.startswith(("=", "+", "-", "@")) else token
        assert by_id[token_id]["text"] == guarded
        assert bytes.fromhex(by_id[token_id]["bytes_hex"]) == raw
    for drawing in ("chart", "score-box"):
        for kind in ("svg", "png"):
            with page.expect_download() as download:
                page.locator(f"[data-drawing={drawing}] [data-save={kind}]").click()
            download.value.save_as(tmp_path / kind)
        sheet = ElementTree.parse(tmp_path / "svg")
        tags = {node.tag.removeprefix("{http://www.w3.org/2000/svg}") for node in sheet.iter()}
        assert tags <= {"svg", "g", "rect", "line", "path", "polyline", "text", "title"}
        named = {name for node in sheet.iter() for name in node.attrib}
        assert not [name for name in named if name.startswith("on") or name.endswith("href")]
        assert (tmp_path / "png").read_bytes().startswith(b"\x89PNG")


def test_the_same_in_japanese_and_after_a_reload(page, backend):
    typed = ask(page, "".join(TEXTS[:30]))
    page.locator("[data-language=ja]").click()
    page.reload()
    expect(page.locator(".chip").first).to_be_visible()
    assert texts(page.locator(".chip")) == shown(backend, backend.encode(typed))
    page.locator("[data-language=en]").click()
