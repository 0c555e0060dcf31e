"""A server's models beside those of this machine, and what may be asked for."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from explorer.backends import LocalModels, RemoteModels, ServerSettings
from explorer.backends.base import ModelUnavailable, RemoteFailed
from explorer.backends.catalogue import CATALOGUE, DEFAULT_MODEL
from tests.backends import served, tiny
from tests.backends.fake_engines import FakeLlama, FakeVllm
from tests.backends.faulty_server import FaultyServer, serving


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with serving(FakeVllm(tiny.backend("llama"), served.llama_folder()), "sk-1") as server:
        yield server


def settings(server: FaultyServer, **more: object) -> ServerSettings:
    return ServerSettings(**{"url": server.url, "engine": "vllm", "key": "sk-1", **more})


def local(folder: Path) -> LocalModels:
    return LocalModels(folder, DEFAULT_MODEL, public=False, budget_bytes=2**20)


def test_a_servers_model_is_opened_in_the_background_and_shared(server) -> None:
    models = RemoteModels(settings(server, models="tiny"), None, budget_bytes=2**20)
    assert models.default == "vllm:tiny" and models.status("vllm:tiny").phase == "idle"
    assert models.request("vllm:tiny").phase in ("waiting", "loading", "ready")
    backend = models.get("vllm:tiny")
    assert models.status("vllm:tiny").phase == "ready"
    assert models.get("vllm:tiny") is backend
    assert backend.info.model_id == "vllm:tiny" and backend.info.vocab_size == 384
    assert backend.next_distribution((5, 6)).coverage == 1.0


def test_without_a_name_it_is_what_the_server_has(server) -> None:
    models = RemoteModels(settings(server), None, budget_bytes=2**20)
    assert [choice.name for choice in models.choices()] == ["vllm"]
    assert models.get("vllm").info.context_length == tiny.CONTEXT


def test_a_failure_to_open_is_told_and_tried_again(server) -> None:
    models = RemoteModels(settings(server, models="tiny,gone"), None, budget_bytes=2**20)
    with pytest.raises(RemoteFailed):
        models.get("vllm:gone")
    assert models.status("vllm:gone").error.code == "remote_no_such_model"
    server.stop()
    with pytest.raises(RemoteFailed):
        models.get("vllm:tiny")
    assert models.status("vllm:tiny").phase == "failed"
    server.start()
    assert models.get("vllm:tiny").next_distribution((5,)).coverage == 1.0


def test_this_machines_models_are_offered_too(server, tmp_path: Path) -> None:
    models = RemoteModels(settings(server), local(tmp_path), budget_bytes=2**20)
    assert [choice.name for choice in models.choices()] == ["vllm", *CATALOGUE]
    assert models.default == "vllm" and not models.public
    assert models.status(DEFAULT_MODEL).phase == "idle"
    folder = str(served.llama_folder())
    assert models.get(folder).info.device is not None
    started = RemoteModels(
        settings(server), local(tmp_path), default=DEFAULT_MODEL, budget_bytes=2**20
    )
    assert started.default == DEFAULT_MODEL


def test_alone_a_server_offers_nothing_else(server) -> None:
    models = RemoteModels(settings(server, models="tiny"), None, budget_bytes=2**20)
    assert models.public
    for ask in (models.request, models.get):
        with pytest.raises(ModelUnavailable, match="must be one of vllm:tiny") as caught:
            ask(DEFAULT_MODEL)
        assert caught.value.code == "model_not_public"
    with pytest.raises(ModelUnavailable):
        RemoteModels(settings(server), None, default="gpt2", budget_bytes=2**20)


def test_fewer_candidates_on_request(server) -> None:
    models = RemoteModels(settings(server, logprobs=7), None, budget_bytes=2**20)
    distribution = models.get("vllm").next_distribution((5, 6))
    assert len(distribution.token_ids) == 7 and distribution.coverage < 1


def test_a_tokenizer_that_can_not_be_read(server, tmp_path: Path) -> None:
    models = RemoteModels(settings(server, tokenizer=str(tmp_path)), None, budget_bytes=2**20)
    with pytest.raises(RemoteFailed, match="--tokenizer") as caught:
        models.get("vllm")
    assert caught.value.code == "remote_no_tokenizer"


def test_a_tokenizer_that_is_not_the_servers(server, tmp_path: Path) -> None:
    tiny.sentencepiece_tokenizer().save_pretrained(tmp_path)
    models = RemoteModels(settings(server, tokenizer=str(tmp_path)), None, budget_bytes=2**20)
    with pytest.raises(RemoteFailed) as caught:
        models.get("vllm")
    assert caught.value.code == "remote_other_tokenizer"


def test_a_tokenizer_alone_is_enough(server, tmp_path: Path) -> None:
    tiny.tokenizer_of("llama").save_pretrained(tmp_path)
    models = RemoteModels(settings(server, tokenizer=str(tmp_path)), None, budget_bytes=2**20)
    backend = models.get("vllm")
    assert backend.encode("the dog") == tiny.backend("llama").encode("the dog")


def test_llama_server_by_the_same_way() -> None:
    with serving(FakeLlama(tiny.backend("llama"))) as server:
        remote = settings(server, engine="llama-server", key=None)
        backend = RemoteModels(remote, None, budget_bytes=2**20).get("llama-server")
        ours = tiny.backend("llama")
        for token_id in range(ours.info.vocab_size):
            assert backend.token(token_id) == ours.token(token_id)
        assert backend.info.end_token_ids == ours.info.end_token_ids


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "127.0.0.1:8000"},
        {"url": "ftp://127.0.0.1"},
        {"url": "http://"},
        {"engine": "tgi"},
        {"engine": "openai"},
        {"logprobs": 0},
        {"timeout_s": 0.0},
        {"timeout_s": float("nan")},
    ],
)
def test_settings_that_can_not_be(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="--"):
        ServerSettings(**{"url": "http://127.0.0.1", "engine": "vllm", **wrong})


def test_settings_do_not_show_the_key_or_the_address() -> None:
    shown = repr(ServerSettings("http://10.1.2.3:8000", "vllm", key="sk-9"))
    assert "sk-9" not in shown and "10.1.2.3" not in shown
