"""A session whose tree is as large as a test wants, as a file that the page loads."""

import json
from dataclasses import replace

from playwright.sync_api import FilePayload, Page

from explorer.backends.base import Backend
from explorer.decoding import PRESETS
from explorer.session import Choice, Node, Prompt, Session, Tree, state_of
from tests.conftest import SMOLLM2

LINE = 10  # tokens of a branch


def session_file(backend: Backend, count: int) -> str:
    """Branches of ten tokens: most from the prompt, every fourth from the middle of the last."""
    chain = PRESETS["pure"]
    session = Session.start(SMOLLM2, backend, Prompt("The capital of France is"), chain)
    nodes = []
    for number in range(1, count + 1):
        line, place = divmod(number - 1, LINE)
        parent = number - 1 if place else (number - LINE // 2 if line % 4 == 2 else 0)
        choice = Choice(chain, chain, (), -0.1 - (number % 40) / 5)
        nodes.append(Node(number, parent, 1000 + number % 3000, "picked", choice=choice))
    moment = replace(session.now, tree=Tree(session.now.tree.prompt, tuple(nodes)))
    return json.dumps(state_of(replace(session, now=moment), backend))


def load(page: Page, text: str) -> None:
    page.locator("[data-el=file]").set_input_files(
        FilePayload(name="session.json", mimeType="application/json", buffer=text.encode())
    )
