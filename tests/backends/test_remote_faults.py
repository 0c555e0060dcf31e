"""A model server that fails in every way, on a real socket: what is said, and what is left."""

import itertools
import json
import logging
import threading
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from explorer.backends.base import BackendError, RemoteFailed
from explorer.backends.remote_server import Server, ServerAccess
from explorer.ui.messages import error_facts
from tests.backends import served, tiny
from tests.backends.fake_engines import FakeVllm
from tests.backends.faulty_server import HANG_UP, Fault, FaultyServer, serving

KEY = "sk-very-secret-0123456789"
PREFIX = (5, 16, 27)
PATH = "/v1/completions"


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with serving(FakeVllm(tiny.backend("llama"), served.llama_folder()), KEY) as server:
        yield server


def failure(server: FaultyServer, *faults: Fault, **more: float) -> RemoteFailed:
    """What a backend says whose next requests fail; afterwards it must work as if nothing was."""
    backend = served.vllm_backend(server, key=KEY, **more)
    server.faults += faults
    with pytest.raises(RemoteFailed) as caught:
        backend.next_distribution(PREFIX)
    server.faults.clear()
    expected = tiny.backend("llama").next_distribution(PREFIX)
    assert backend.next_distribution(PREFIX).token_ids.tolist() == expected.token_ids.tolist()
    assert backend.score((*PREFIX, 9))[-1].rank == expected.rank_of(9)
    return caught.value


def always(fault: Fault) -> list[Fault]:
    return list(itertools.repeat(fault, 9))


def status(code: int, message: str = "no reason", **headers: str) -> Fault:
    body = json.dumps({"error": {"message": message}}).encode()
    return Fault(code, body, {name.replace("_", "-"): value for name, value in headers.items()})


# failures that do not pass


@pytest.mark.parametrize("code", [401, 403])
def test_a_refused_key(server: FaultyServer, code: int) -> None:
    error = failure(server, status(code, f"Incorrect API key provided: {KEY}"))
    assert error.code == "remote_refused_key"
    assert error.facts == {"status": code}


def test_a_wrong_key_is_refused_by_the_server_itself(server: FaultyServer) -> None:
    with pytest.raises(RemoteFailed) as caught:
        served.vllm_backend(server, key="sk-wrong")
    assert caught.value.code == "remote_refused_key"
    assert KEY not in str(caught.value) and "sk-wrong" not in str(caught.value)


def test_a_model_that_is_gone(server: FaultyServer) -> None:
    error = failure(server, status(404, "The model `tiny` does not exist."))
    assert error.code == "remote_no_such_model"
    assert error.facts == {"model": "tiny"}


def test_a_request_that_the_server_rejects(server: FaultyServer) -> None:
    error = failure(server, status(400, f"bad {KEY} at 127.0.0.1:{server.port}\n\nbecause"))
    assert error.code == "remote_rejected"
    assert error.facts == {"status": 400, "detail": "bad … at … because"}


@pytest.mark.parametrize(
    "body",
    [
        b"<html>It works!</html>",
        b"",
        b'{"choices": [{"index": 0',
        b"[]",
        b"null",
        b'{"choices": []}',
        b'{"choices": [{"index": 0, "logprobs": null}]}',
        b'{"choices": [{"index": 0, "logprobs": {"top_logprobs": [{" the": -1.5}]}}]}',
        b'{"choices": [{"index": 0, "logprobs": {"top_logprobs": [{"token_id:999": -1}]}}]}',
        b'{"choices": [{"index": 0, "logprobs": {"top_logprobs": [{}]}}]}',
        # logits instead of logprobs
        b'{"choices": [{"index": 0, "logprobs": {"top_logprobs": [{"token_id:9": 21.5}]}}]}',
        b'{"choices": [{"index": 0, "logprobs": {"top_logprobs": [{"token_id:9": NaN}]}}]}',
        b"\xff\xfe",
    ],
)
def test_an_answer_that_makes_no_sense(server: FaultyServer, body: bytes) -> None:
    asked = server.count(PATH)
    error = failure(server, Fault(200, body))
    assert error.code == "remote_not_understood"
    assert error.facts["detail"] in str(error)
    assert server.count(PATH) - asked == 4  # opening, this one, and two that were right


def test_another_kind_of_server(server: FaultyServer) -> None:
    server.key = None
    with pytest.raises(RemoteFailed) as caught:
        served.llama_backend(server)
    assert caught.value.code == "remote_wrong_engine"
    assert caught.value.facts["path"] == "/props"


# failures that may pass


def test_a_server_that_is_slow_for_too_long(server: FaultyServer) -> None:
    start = time.monotonic()
    error = failure(server, Fault(delay_s=60), timeout_s=3.0)
    assert error.code == "remote_timed_out"
    assert error.facts == {"seconds": 3.0}
    assert time.monotonic() - start < 50  # the right answers afterwards included


def test_a_server_that_answers_byte_by_byte(server: FaultyServer) -> None:
    # Each byte comes well within the time-out, the whole never does.
    error = failure(server, Fault(drip_s=0.05), timeout_s=3.0)
    assert error.code == "remote_timed_out"


@pytest.mark.parametrize("fault", [Fault(cut=True), HANG_UP], ids=["in the middle", "at once"])
def test_an_answer_that_is_cut_off(server: FaultyServer, fault: Fault) -> None:
    error = failure(server, *always(fault))
    assert error.code == "remote_cut_off"
    assert error.facts["attempts"] > 1


def test_too_many_requests(server: FaultyServer) -> None:
    asked = server.count(PATH)
    error = failure(server, *always(status(429, "slow down")))
    assert error.code == "remote_busy"
    assert error.facts["status"] == 429
    assert error.facts["attempts"] > 1
    assert server.count(PATH) - asked == 1 + error.facts["attempts"] + 2


def test_a_server_that_asks_for_more_patience_than_we_have_is_not_asked_again(
    server: FaultyServer,
) -> None:
    start = time.monotonic()
    error = failure(server, status(429, retry_after="77"))
    assert error.facts == {"status": 429, "attempts": 1, "seconds": 77}
    assert time.monotonic() - start < 70


def test_a_server_that_says_when_to_come_back_is_asked_then(server: FaultyServer) -> None:
    backend = served.vllm_backend(server, key=KEY)
    server.faults += [status(429, retry_after="1")]
    start = time.monotonic()
    backend.next_distribution(PREFIX)
    assert time.monotonic() - start >= 1


@pytest.mark.parametrize("wish", ["soon", "-3", "nan", "inf", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_a_wish_that_is_no_number_of_seconds_is_none(server: FaultyServer, wish: str) -> None:
    backend = served.vllm_backend(server, key=KEY)
    server.faults += [status(429, retry_after=wish)]
    assert backend.next_distribution(PREFIX).coverage == 1.0


@pytest.mark.parametrize("code", [500, 502, 504])
def test_a_server_that_fails(server: FaultyServer, code: int) -> None:
    error = failure(server, *always(status(code, "out of memory")))
    assert error.code == "remote_server_error"
    assert error.facts == {"status": code, "detail": "out of memory"}


@pytest.mark.parametrize("fault", [status(500), status(429), status(503), Fault(cut=True), HANG_UP])
def test_one_failure_that_passes_is_not_noticed(server: FaultyServer, fault: Fault) -> None:
    backend = served.vllm_backend(server, key=KEY)
    asked = server.count(PATH)
    server.faults += [fault]
    assert backend.next_distribution(PREFIX).coverage == 1.0
    assert server.count(PATH) - asked == 2


def test_waiting_has_an_end(server: FaultyServer) -> None:
    start = time.monotonic()
    failure(server, *always(status(500)))
    assert time.monotonic() - start < 60  # of which 1.5 s are patience


# a server that goes and comes back


def test_a_dead_server_and_its_return(server: FaultyServer) -> None:
    backend = served.vllm_backend(server, key=KEY)
    before = backend.next_distribution(PREFIX)
    server.stop()
    assert backend.next_distribution(PREFIX) is before  # what is known needs no server
    for _ in range(2):
        with pytest.raises(RemoteFailed) as caught:
            backend.next_distribution((5, 16))
        assert caught.value.code in ("remote_unreachable", "remote_cut_off")
    server.start()
    assert backend.next_distribution((5, 16)).coverage == 1.0
    assert backend.next_distribution(PREFIX) is before


def test_no_server_at_all() -> None:
    with serving(FakeVllm(tiny.backend("llama"), served.llama_folder())) as server:
        server.stop()
        with pytest.raises(RemoteFailed) as caught:
            served.vllm_backend(server)
    assert caught.value.code == "remote_unreachable"
    assert str(server.port) not in str(caught.value)


def test_a_server_that_comes_back_with_fewer_logprobs(server: FaultyServer) -> None:
    backend = served.vllm_backend(server, key=KEY)
    assert backend.info.coverage == 1.0
    assert backend.next_distribution(PREFIX).coverage == 1.0
    server.engine = FakeVllm(tiny.backend("llama"), served.llama_folder(), 20)
    few = backend.next_distribution((5, 16))
    assert len(few.token_ids) == 20 and few.coverage < 1 and few.entropy is None
    assert backend.info.coverage < 1
    assert backend.score((7, 8, 9))[2].logprob is not None
    asked = server.count(PATH)
    backend.next_distribution((5, 17))
    assert server.count(PATH) == asked + 1  # the new limit is known


def test_fewer_logprobs_than_asked_are_what_there_is(server: FaultyServer) -> None:
    row = {"token_id:7": -0.5, "token_id:3": -2.0, "token_id:1": -2.0}
    answer = {"choices": [{"index": 0, "logprobs": {"top_logprobs": [row]}}]}
    backend = served.vllm_backend(server, key=KEY)
    server.faults += [Fault(200, json.dumps(answer).encode())]
    few = backend.next_distribution(PREFIX)
    assert few.token_ids.tolist() == [7, 1, 3]  # ties by lower id
    assert few.coverage == pytest.approx(0.60653 + 2 * 0.13534, abs=1e-4)
    assert few.size == 384


# what concurrent users share


def test_a_prefix_that_many_want_at_once_is_asked_for_once(server: FaultyServer) -> None:
    backend = served.vllm_backend(server, key=KEY)
    asked = server.count(PATH)
    server.faults += [Fault(delay_s=0.5)]
    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda _: backend.next_distribution(PREFIX), range(12)))
    assert all(one is found[0] for one in found)
    assert server.count(PATH) == asked + 1


def test_who_waits_for_a_call_that_fails_gets_its_error_and_may_ask_again(
    server: FaultyServer,
) -> None:
    backend = served.vllm_backend(server, key=KEY)
    server.faults += [Fault(404, delay_s=0.5)]
    started = threading.Barrier(4)

    def ask(_: int) -> str:
        started.wait()
        try:
            backend.next_distribution(PREFIX)
        except BackendError as error:
            return error.code
        return "found"

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(ask, range(4))) == {"remote_no_such_model"}
    assert ask_again(backend) == 1.0


def ask_again(backend: object) -> float:
    return backend.next_distribution(PREFIX).coverage


def test_branches_are_asked_for_in_one_request(server: FaultyServer) -> None:
    backend = served.vllm_backend(server, key=KEY)
    asked = server.count(PATH)
    prefixes = [(*PREFIX, token_id) for token_id in range(30)]
    found = backend.continuations([*prefixes, prefixes[0]], 5)
    assert len(found) == 31 and found[30] == found[0]
    assert server.count(PATH) == asked + 1
    assert backend.continuations(prefixes, 3)[4].token_ids == found[4].token_ids[:3]
    assert server.count(PATH) == asked + 1
    backend.next_distributions(prefixes)
    assert server.count(PATH) == asked + 2


def test_a_text_is_scored_and_continued_by_one_request(server: FaultyServer) -> None:
    backend = served.vllm_backend(server, key=KEY)
    asked = server.count(PATH)
    backend.score(PREFIX)
    following = backend.next_distribution(PREFIX).token_ids[0]
    backend.score((*PREFIX, int(following)))
    assert server.count(PATH) == asked + 1


# secrets


def test_neither_key_nor_address_is_ever_said(
    server: FaultyServer, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    said = []
    for fault in (
        status(401, f"you sent {KEY}"),
        status(400, f"you sent {KEY} to {server.url}"),
        status(404, f"you sent {KEY}"),
        Fault(200, KEY.encode()),
        *(status(code, f"you sent {KEY} to {server.url}") for code in (500,) * 4),
    ):
        server.faults.clear()
        error = failure(server, *(always(fault) if fault.status == 500 else [fault]))
        said += [str(error), repr(error), "".join(traceback.format_exception(error))]
        said += [json.dumps(error_facts(error))]
    access = served.access(server, KEY)
    said += [repr(access), str(access), repr(Server(access))]
    printed = "".join(capsys.readouterr())
    for text in [*said, printed, caplog.text]:
        assert KEY not in text
        assert f":{server.port}" not in text
    assert any(headers["authorization"] == f"Bearer {KEY}" for headers in lowered(server))


def lowered(server: FaultyServer) -> list[dict[str, str]]:
    return [{name.lower(): value for name, value in one.items()} for one in server.headers]


def test_a_server_without_a_key_is_given_none() -> None:
    with serving(FakeVllm(tiny.backend("llama"), served.llama_folder())) as server:
        Server(ServerAccess(server.url)).get("/v1/models")
        assert lowered(server)[0]["authorization"] == "Bearer none"
