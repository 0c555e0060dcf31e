"""Every chart as a file, SVG and PNG."""

from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image  # comes with gradio
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser

SVG = "{http://www.w3.org/2000/svg}"


def saved(page: Page, place: str, kind: str, folder: Path) -> Path:
    with page.expect_download() as download:
        page.locator(f"[data-drawing={place}] [data-save={kind}]").click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def texts(path: Path) -> list[str]:
    root = ElementTree.parse(path).getroot()
    assert root.tag == f"{SVG}svg" and float(root.attrib["width"]) > 100
    return [text.text or "" for text in root.iter(f"{SVG}text")]


def check_picture(page: Page, path: Path, place: str, paper: tuple[int, int, int]) -> None:
    """Twice the size it is shown at, opaque, on the card's paper, and something drawn on it."""
    shown = page.locator(f"[data-el={place}] svg").bounding_box()
    assert shown and path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    with Image.open(path) as picture:
        assert picture.size == (round(2 * shown["width"]), round(2 * shown["height"]))
        colours = picture.convert("RGBA").getcolors(2**20)
    assert colours and len(colours) > 20
    assert all(alpha == 255 for _, (*_, alpha) in colours)
    assert max(colours)[1][:3] == paper  # what most of it is


def paper_of(page: Page, place: str) -> tuple[int, int, int]:
    colour = page.evaluate(
        "place => getComputedStyle(document.querySelector(`[data-el=${place}]`).closest('.card'))"
        ".backgroundColor.match(/\\d+/g).map(Number)",
        place,
    )
    red, green, blue = colour
    return red, green, blue


def drawing(page: Page) -> str:
    return page.locator("[data-el=chart]").inner_html()


def test_a_chart_that_is_changed_in_place_is_as_one_drawn_anew(open_page):
    page = open_page()
    chart = page.locator("[data-el=chart]")
    for strategy in ("Greedy", "Mirostat v2", "Pure sampling"):
        before = drawing(page)
        chart.locator("svg").evaluate("svg => { window.drawnBefore = svg; }")
        page.get_by_role("radio", name=strategy).click()
        page.wait_for_function("old => drawnBefore.parentNode.innerHTML !== old", arg=before)
        in_place = drawing(page)
        page.evaluate("() => drawnBefore.remove()")
        for _ in range(2):  # per cent as fractions, and back
            page.locator("[data-el=number-form]").click()
        assert drawing(page) == in_place


def test_the_distribution_is_saved(open_page, tmp_path: Path):
    page = open_page()
    assert "␣Paris" in texts(saved(page, "chart", "svg", tmp_path))
    picture = saved(page, "chart", "png", tmp_path)
    assert picture.name == "distribution.png"
    check_picture(page, picture, "chart", paper_of(page, "chart"))


def test_the_distribution_is_saved_in_the_dark_with_japanese_labels(open_page, tmp_path: Path):
    page = open_page(locale="ja-JP")
    page.get_by_role("button", name="織田信長は美少女").click()
    expect(page.locator(".chip").first).to_have_text("<bos>", timeout=180_000)
    light = paper_of(page, "chart")
    page.locator("[data-el=theme]").click()
    dark = paper_of(page, "chart")
    assert sum(dark) < sum(light)
    labels = "".join(texts(saved(page, "chart", "svg", tmp_path)))
    assert any("\u3040" < character < "\u9fff" for character in labels)
    check_picture(page, saved(page, "chart", "png", tmp_path), "chart", dark)


def test_the_score_is_saved(open_page, tmp_path: Path):
    page = open_page()
    expect(page.locator("[data-drawing=score-box]")).to_be_hidden()  # nothing is drawn yet
    page.locator("[data-el=score-open]").click()
    expect(page.locator("[data-el=score-box] svg")).to_be_visible()
    assert "0.0" in texts(saved(page, "score-box", "svg", tmp_path))
    picture = saved(page, "score-box", "png", tmp_path)
    check_picture(page, picture, "score-box", paper_of(page, "score-box"))


def test_the_dials_are_saved(open_page, tmp_path: Path):
    page = open_page()
    page.get_by_role("radio", name="Mirostat v2").click()
    expect(page.locator("[data-el=cockpit]")).to_be_visible()
    expect(page.locator("[data-drawing=dial-chart]")).to_be_hidden()
    page.keyboard.press("s")
    expect(page.locator("[data-el=dial-chart] svg")).to_be_visible()
    token = page.locator(".chip").last.inner_text()
    assert token[:6] in " ".join(texts(saved(page, "dial-chart", "svg", tmp_path)))
    picture = saved(page, "dial-chart", "png", tmp_path)
    check_picture(page, picture, "dial-chart", paper_of(page, "dial-chart"))
