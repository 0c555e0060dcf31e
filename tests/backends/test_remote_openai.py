"""The OpenAI API: few candidates as bytes, conversations without ids, and what can't be known."""

import math
from collections.abc import Iterator

import pytest
import tiktoken

from explorer.backends.base import LogprobsUnavailable, NoChatTemplate, RemoteFailed
from explorer.backends.prefix_memory import PrefixMemory
from explorer.backends.remote import RemoteBackend
from explorer.backends.remote_openai import open_openai
from explorer.backends.remote_server import Server
from tests.backends.fake_engines import FakeOpenAI, tiny_encoding
from tests.backends.faulty_server import Fault, FaultyServer, serving
from tests.backends.served import access

CHAT = [{"role": "system", "content": "日本"}, {"role": "user", "content": "the dog"}]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    monkeypatch.setattr(tiktoken, "get_encoding", {"tiny": tiny_encoding()}.__getitem__)
    with serving(FakeOpenAI(tiny_encoding()), "sk-1") as server:
        yield server


def opened(server: FaultyServer, model: str, limit: int | None = None) -> RemoteBackend:
    dialect = open_openai(Server(access(server, "sk-1")), f"openai:{model}", model, "tiny", limit)
    return RemoteBackend(dialect, PrefixMemory(2**20))


def test_a_completion_has_five_candidates_whose_ids_are_known_by_their_bytes(server) -> None:
    backend = opened(server, "old")
    prefix = backend.encode("the 日 dog")
    assert b"".join(backend.token(one).raw for one in prefix).decode() == "the 日 dog"
    distribution = backend.next_distribution(prefix)
    assert distribution.token_ids.tolist() == [200, 201, 202, 203, 204]  # each half a character
    assert 0.9 < distribution.coverage < 1 and distribution.entropy is None
    assert server.asked[-1][1]["prompt"] == [list(prefix)]
    assert backend.info.coverage == 0.0


def test_a_completions_model_has_no_chat_template(server) -> None:
    with pytest.raises(NoChatTemplate):
        opened(server, "old").encode_chat(CHAT)


def test_scores_are_of_known_distributions_only_for_each_request_is_paid_for(server) -> None:
    backend = opened(server, "old")
    prefix = (116, 200, 3)
    asked = len(server.asked)
    assert [one.logprob for one in backend.score(prefix)] == [None, None, None]
    assert len(server.asked) == asked
    backend.next_distribution(prefix[:1])
    scored = backend.score(prefix)
    assert scored[1].rank == 1 and scored[1].logprob == pytest.approx(math.log(0.9))
    assert scored[2].logprob is None


def test_a_chat_model_tells_the_first_token_of_its_answer(server) -> None:
    backend = opened(server, "new")
    prefix = backend.encode_chat(CHAT)
    distribution = backend.next_distribution(prefix)
    assert len(distribution.token_ids) == 20
    path, body = server.asked[-1]
    assert path == "/v1/chat/completions"
    assert body["messages"] == CHAT and body["top_logprobs"] == 20
    marks = [backend.token(one) for one in prefix if backend.token(one).special]
    assert len(marks) == 8 and marks[0].raw == b"<|im_start|>"


def test_a_chat_model_can_continue_nothing(server) -> None:
    backend = opened(server, "new")
    chat = backend.encode_chat(CHAT)
    beside = [(*chat, 7), chat[:-1], chat[1:], backend.encode("the"), chat[-3:], (*chat, *chat)]
    for prefix in beside:
        with pytest.raises(RemoteFailed, match="conversations only") as caught:
            backend.next_distribution(prefix)
        assert caught.value.code == "remote_chat_only"
    assert all(one.logprob is None for one in backend.score((*chat, 7)))


@pytest.mark.parametrize("text", ["<|im_end|>", "<|endoftext|>", "user\n<|im_start|>"])
def test_marks_in_a_message_are_text(server, text: str) -> None:
    backend = opened(server, "new")
    chat = [{"role": "user", "content": text}]
    backend.next_distribution(backend.encode_chat(chat))
    assert server.asked[-1][1]["messages"] == chat


def test_no_more_candidates_than_wanted(server) -> None:
    assert (
        len(
            opened(server, "new", 7)
            .next_distribution(opened(server, "new").encode_chat(CHAT))
            .token_ids
        )
        == 7
    )
    assert len(opened(server, "old", 50).next_distribution((5,)).token_ids) == 5


def test_candidates_unknown_to_the_encoding_count_as_not_seen(server) -> None:
    backend = opened(server, "old")
    body = b'{"choices": [{"index": 0, "logprobs": {"top_logprobs": [%s]}}]}'
    server.faults += [Fault(200, body % b'{" the": -1.0, " unheard": -0.7}')]
    distribution = backend.next_distribution((5,))
    assert [backend.token(int(one)).raw for one in distribution.token_ids] == [b" the"]
    assert distribution.coverage == pytest.approx(math.exp(-1))
    server.faults += [Fault(200, body % b'{" unheard": -0.7}')]
    with pytest.raises(LogprobsUnavailable):
        backend.next_distribution((6,))


def test_a_model_that_gives_no_logprobs(server) -> None:
    server.faults += [Fault(200, b'{"choices": [{"index": 0, "logprobs": null}]}')]
    with pytest.raises(LogprobsUnavailable):
        opened(server, "old")


def test_a_model_that_is_not_there(server) -> None:
    with pytest.raises(RemoteFailed) as caught:
        opened(server, "newest")
    assert caught.value.code == "remote_no_such_model"


def test_an_encoding_that_is_not_there(server) -> None:
    with pytest.raises(RemoteFailed) as caught:
        open_openai(Server(access(server)), "openai:x", "x", "huge", None)
    assert caught.value.code == "remote_no_tokenizer"
