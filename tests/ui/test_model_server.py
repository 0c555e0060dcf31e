"""The started app on a model server: what it offers and never tells, and a server that fails."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from explorer.backends.catalogue import DEFAULT_MODEL
from tests.backends import served, tiny
from tests.backends.fake_engines import FakeVllm
from tests.backends.faulty_server import Fault, FaultyServer, serving
from tests.conftest import ROOT, start_app

KEY = "sk-only-the-operator-knows"


@pytest.fixture(scope="module")
def server() -> Iterator[FaultyServer]:
    with serving(FakeVllm(tiny.backend("llama"), served.llama_folder(), 20), KEY) as server:
        yield server


@pytest.fixture(scope="module")
def url(server: FaultyServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    process, url = start_app(
        tmp_path_factory.mktemp("models"),
        EXPLORER_SERVER=server.url,
        EXPLORER_SERVER_MODEL="tiny",
        EXPLORER_SERVER_KEY=KEY,
        EXPLORER_PUBLIC="1",
    )
    yield url
    process.terminate()
    process.wait(20)


@pytest.fixture(scope="module")
def client(url: str) -> Client:
    return Client(url, verbose=False)


def test_the_servers_model_is_the_default_and_says_how_much_it_covers(client: Client) -> None:
    table = client.predict(prompt="the dog", chain="pure", top_n=5, api_name="/next_tokens")
    assert table["model"] == "vllm:tiny"
    assert 0 < table["coverage"] < 1
    assert table["entropy"] is None
    expected = tiny.backend("llama").next_distribution(tuple(table["prefix_ids"]))
    assert [row["token_id"] for row in table["rows"]] == expected.token_ids[:5].tolist()
    assert table["rows"][0]["raw_probability"] == pytest.approx(expected.probabilities[0])


def test_a_text_is_drawn_and_scored(client: Client) -> None:
    drawn = client.predict(prompt="the", chain="pure", max_tokens=5, api_name="/generate")
    assert len(drawn["tokens"]) == 5
    scored = client.predict(prompt="the dog", api_name="/score")
    assert all(token["logprob"] is not None for token in scored["tokens"][1:])


def test_other_models_are_not_offered_on_a_public_page(client: Client) -> None:
    with pytest.raises(AppError, match="must be one of vllm:tiny"):
        client.predict(prompt="a", model=DEFAULT_MODEL, api_name="/tokenize")


def test_neither_key_nor_address_reaches_the_page(url: str, server: FaultyServer) -> None:
    for path in ("", "/config", "/gradio_api/info"):
        with urlopen(url + path) as answer:
            said = answer.read().decode()
        assert KEY not in said and f":{server.port}" not in said


def test_a_server_that_fails_is_told_and_then_works_again(
    client: Client, server: FaultyServer
) -> None:
    server.faults += [Fault(403, f"{KEY} is wrong".encode())]
    with pytest.raises(AppError, match="refuses the key") as caught:
        client.predict(prompt="the fox the fox", api_name="/next_tokens")
    assert KEY not in str(caught.value)
    assert client.predict(prompt="the fox the fox", api_name="/next_tokens")["rows"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--server", "localhost:8000"], "--server must begin with http"),
        (["--server", "http://localhost:8000", "--engine", "tgi"], "--engine must be one of"),
        (["--server", "http://localhost:8000", "--public", "--model", "gpt2"], "must be one of"),
    ],
)
def test_settings_that_can_not_be_end_the_start(arguments: list[str], said: str) -> None:
    ended = subprocess.run(
        [sys.executable, "app.py", *arguments, "--server-key", KEY],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ended.returncode != 0 and said in ended.stderr
    assert "Traceback" not in ended.stderr and KEY not in ended.stderr


def test_the_readme_and_the_help_tell_every_option() -> None:
    readme = Path(ROOT / "README.md").read_text()
    said = subprocess.run(
        [sys.executable, "app.py", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for option in ("SERVER", "ENGINE", "SERVER_MODEL", "SERVER_KEY", "TOKENIZER"):
        flag = f"--{option.lower().replace('_', '-')}"
        assert flag in said and f"EXPLORER_{option}" in said
        assert f"| `{flag}` | `EXPLORER_{option}` |" in readme
