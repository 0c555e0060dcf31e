"""The four endpoints, as a script calls them, on the started app."""

import json
import math
import re
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

pytestmark = pytest.mark.real

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture(scope="module")
def client(app_url: str) -> Client:
    return Client(app_url, verbose=False)


def test_the_readmes_example_runs_and_prints_what_it_says(app_url, capsys):
    example = re.search(r"```python\n(from gradio_client.*?)```", README.read_text("utf-8"), re.S)
    assert example
    code = example[1].replace("http://127.0.0.1:7860", app_url)
    exec(compile(code, str(README), "exec"), {})
    promised = re.findall(r"# prints (.*)", code)
    assert promised and capsys.readouterr().out.splitlines() == promised


def test_tokenize(client, smollm2):
    answer = client.predict(prompt="Hello 日", api_name="/tokenize")
    assert answer["model"] == "smollm2-135m-instruct"
    assert [token["token_id"] for token in answer["tokens"]] == list(smollm2.encode("Hello 日"))
    spelled = bytes.fromhex("".join(token["bytes_hex"] for token in answer["tokens"]))
    assert spelled.decode() == "Hello 日"
    assert set(answer["tokens"][0]) == {"token_id", "text", "bytes_hex", "special"}


def test_next_tokens(client):
    answer = client.predict(
        prompt="The capital of France is", chain="llama3", top_n=10, api_name="/next_tokens"
    )
    rows = answer["rows"]
    assert rows[0]["text"] == "␣Paris" and len(rows) == 10
    assert set(rows[0]) == {
        *("rank", "token_id", "text", "bytes_hex", "special"),
        *("logit", "raw_probability", "probability", "cut_by"),
    }
    raw = sum(row["raw_probability"] for row in rows) + answer["other"]["raw_probability"]
    final = sum(row["probability"] for row in rows) + answer["other"]["probability"]
    assert raw == pytest.approx(1) and final == pytest.approx(1)
    assert answer["other"]["count"] == 49152 - 10 and answer["coverage"] == 1
    assert [row["cut_by"] is None for row in rows].count(True) == min(10, answer["kept"])
    assert {row["cut_by"] for row in rows[answer["kept"] :]} <= {"top_p"}


def test_the_three_ways_to_give_a_prefix_agree(client):
    by_prompt = client.predict(prompt="Hi there", api_name="/next_tokens")
    by_ids = client.predict(prefix_ids=by_prompt["prefix_ids"], api_name="/next_tokens")
    assert by_ids == by_prompt
    chat = client.predict(messages=[{"role": "user", "content": "Hi"}], api_name="/next_tokens")
    assert chat["prefix_ids"][0] == 1 and len(chat["prefix_ids"]) > 20


def test_generate_is_repeatable_and_explains_each_token(client):
    ask = {"prompt": "Once upon a time", "chain": "top_p", "seed": 7, "max_tokens": 8}
    one, two = (client.predict(**ask, api_name="/generate") for _ in range(2))
    assert one == two and len(one["tokens"]) == 8 and one["stop_reason"] == "max_tokens"
    first = one["tokens"][0]
    assert 0 <= first["u"] < 1 and first["probability"] >= first["raw_probability"]
    other = client.predict(**{**ask, "seed": 8}, api_name="/generate")
    assert other["text"] != one["text"]
    spelled = bytes.fromhex("".join(token["bytes_hex"] for token in one["tokens"]))
    assert spelled.decode() == one["text"]


def test_generate_stops_at_the_end_of_the_text(client):
    answer = client.predict(
        messages=[{"role": "user", "content": "Say only: yes"}],
        chain="greedy",
        max_tokens=200,
        api_name="/generate",
    )
    assert answer["stop_reason"] == "end_of_text"
    assert answer["tokens"][-1]["text"] == "<|im_end|>" and "<|im_end|>" not in answer["text"]


def test_score(client):
    answer = client.predict(prompt="The capital of France is Paris", api_name="/score")
    tokens = answer["tokens"]
    assert tokens[0]["logprob"] is None and tokens[0]["rank"] is None
    logprobs = [token["logprob"] for token in tokens[1:]]
    assert answer["perplexity"] == pytest.approx(math.exp(-sum(logprobs) / len(logprobs)))
    size = len(b" capital of France is Paris")
    assert answer["bits_per_byte"] == pytest.approx(-sum(logprobs) / math.log(2) / size)
    assert tokens[-1]["rank"] == 1


@pytest.mark.parametrize(
    ("endpoint", "ask", "said"),
    [
        ("/next_tokens", {}, "exactly one of prompt, messages and prefix_ids"),
        ("/next_tokens", {"prompt": "a", "prefix_ids": [1]}, "exactly one of"),
        ("/next_tokens", {"prompt": "a", "top_n": 0}, "top_n must be a whole number from 1 to"),
        ("/next_tokens", {"prompt": "a", "top_n": 2.5}, "top_n must be a whole number"),
        ("/next_tokens", {"prompt": "a", "top_n": True}, "top_n must be a whole number"),
        ("/next_tokens", {"prompt": "a", "chain": "no_such"}, "llama3"),
        (
            "/next_tokens",
            {"prompt": "a", "chain": [{"step": "top_p", "p": 1.5}]},
            "chain[0].p must be a number from 0 to 1, got 1.5",
        ),
        ("/next_tokens", {"prompt": "a", "chain": [{"step": "top_p"}]}, "chain[0].p"),
        ("/next_tokens", {"prompt": "a", "chain": [{"step": "top_p", "p": 0.5, "q": 1}]}, "'q'"),
        ("/next_tokens", {"prefix_ids": [49152]}, "from 0 to 49151, got 49152"),
        ("/next_tokens", {"prefix_ids": [-1]}, "got -1"),
        ("/next_tokens", {"prefix_ids": []}, "empty"),
        ("/next_tokens", {"prefix_ids": ["a"]}, "prefix_ids[0] must be a whole number"),
        ("/next_tokens", {"messages": []}, "at least one message"),
        ("/next_tokens", {"messages": [{"role": "user"}]}, "messages[0]"),
        ("/next_tokens", {"prefix_ids": [5] * 8193}, "8193 tokens; the model's context holds 8192"),
        ("/tokenize", {"prompt": "a", "model": "/no/such"}, "there is no file or folder"),
        ("/tokenize", {"prompt": 5}, "prompt must be a text"),
        ("/generate", {"prompt": "a", "seed": -1}, "seed must be a whole number"),
        ("/generate", {"prompt": "a", "max_tokens": 10**9}, "max_tokens must be a whole number"),
        ("/score", {"prompt": "a " * 9000}, "the model's context holds 8192"),
    ],
)
def test_bad_input_gets_an_error_that_names_it(client, endpoint, ask, said):
    with pytest.raises(AppError, match=re.escape(said)):
        client.predict(**ask, api_name=endpoint)


def test_a_lone_surrogate_is_named(app_url):
    """Sent by hand: the client library itself can't put one on the wire."""
    body = json.dumps({"data": ["ab\ud800", None, None, None]}).encode()
    call = f"{app_url}/gradio_api/call/score"
    with urlopen(Request(call, body, {"Content-Type": "application/json"})) as answer:
        event = json.load(answer)["event_id"]
    with urlopen(f"{call}/{event}") as stream:
        assert "lone surrogate at position 2" in stream.read().decode()
