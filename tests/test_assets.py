"""What the page's scripts may not do, read off their text."""

import re
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parents[1] / "assets" / "js").glob("*.js"))

# Ways from a text to markup or code. There is none: elements are made in `dom.js` and
# `drawing.js`, and a text only ever becomes `textContent` or the value of an attribute.
FORBIDDEN = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|srcdoc|document\.write|DOMParser|setHTMLUnsafe"
    r"|createContextualFragment|\beval\(|\bFunction\(|import\(|javascript:|set(?:Timeout|Interval)\(\s*['\"`]"
)
# Attributes whose value a browser would run or ask for.
RUNS = re.compile(r"setAttribute\(\s*(?!'[a-zA-Z-]+'|name,)|setAttribute\('(?:on|href|src|style)")
MADE_BY_NAME = re.compile(r"createElement(?:NS)?\(|setAttribute\(name,")


def code(script: Path) -> str:
    """Without comments."""
    return re.sub(r"(?m)(^|\s)//.*$", "", script.read_text("utf-8"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_no_script_turns_text_into_markup_or_code(script: Path) -> None:
    assert not FORBIDDEN.findall(code(script))
    assert not RUNS.findall(code(script))


def test_elements_are_made_in_two_places() -> None:
    made = {script.name for script in SCRIPTS if MADE_BY_NAME.search(code(script))}
    assert made == {"dom.js", "drawing.js"}


def test_addresses_are_of_the_page_s_own_files() -> None:
    """A link or a picture has the address of something that was made in the page."""
    found = [
        line.strip()
        for script in SCRIPTS
        for line in code(script).splitlines()
        if re.search(r"\.(?:href|src)\s*=[^=]", line)
    ]
    assert len(found) == 2 and all("URL.createObjectURL(new Blob(" in line for line in found)


@pytest.mark.parametrize(
    "wrong",
    [
        "node.innerHTML = text",
        "node.insertAdjacentHTML('beforeend', text)",
        "document.write(text)",
        "eval(text)",
        "new Function(text)",
        "setTimeout('run()', 1)",
    ],
)
def test_the_search_finds_what_it_looks_for(wrong: str) -> None:
    assert FORBIDDEN.search(wrong)


@pytest.mark.parametrize(
    "wrong", ["node.setAttribute('onclick', text)", "node.setAttribute(key, x)"]
)
def test_attributes_that_run_are_found(wrong: str) -> None:
    assert RUNS.search(wrong)
