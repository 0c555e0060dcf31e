"""Backends over servers of the tests, which answer as the real engines do."""

import tempfile
from functools import cache
from pathlib import Path

from explorer.backends.prefix_memory import PrefixMemory
from explorer.backends.remote import RemoteBackend
from explorer.backends.remote_llama import open_llama
from explorer.backends.remote_server import Server, ServerAccess
from explorer.backends.remote_vllm import open_vllm
from tests.backends import tiny
from tests.backends.fake_engines import FakeLlama, FakeVllm
from tests.backends.faulty_server import FaultyServer


@cache
def llama_folder() -> Path:
    return tiny.save_llama(Path(tempfile.mkdtemp(prefix="tiny-llama-")))


@cache
def vllm_server(max_logprobs: int) -> FaultyServer:
    server = FaultyServer(FakeVllm(tiny.backend("llama"), llama_folder(), max_logprobs))
    server.start()
    return server


@cache
def llama_server() -> FaultyServer:
    server = FaultyServer(FakeLlama(tiny.backend("llama")))
    server.start()
    return server


def access(server: FaultyServer, key: str | None = None, timeout_s: float = 300) -> ServerAccess:
    return ServerAccess(server.url, key, timeout_s, patience_s=1.5)


def vllm_backend(server: FaultyServer, **more: float) -> RemoteBackend:
    dialect = open_vllm(Server(access(server, **more)), "vllm:tiny", "tiny", None, None)
    return RemoteBackend(dialect, PrefixMemory(tiny.BUDGET))


def llama_backend(server: FaultyServer) -> RemoteBackend:
    dialect = open_llama(Server(access(server)), "llama-server:tiny", None, None)
    return RemoteBackend(dialect, PrefixMemory(tiny.BUDGET))
