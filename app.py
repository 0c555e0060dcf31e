"""Next-Token Explorer: `python app.py`, then open http://127.0.0.1:7860."""

import gc

gc.disable()  # imports make a million objects that stay; looking for garbage among them takes long

import argparse  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
import threading  # noqa: E402
from contextlib import suppress  # noqa: E402
from pathlib import Path  # noqa: E402

from explorer.backends import (  # noqa: E402
    BackendError,
    LocalModels,
    Models,
    RemoteModels,
    ServerSettings,
    default_models_dir,
)
from explorer.backends.catalogue import CATALOGUE, DEFAULT_MODEL  # noqa: E402
from explorer.backends.machine import use_few_heaps  # noqa: E402


def settings(arguments: list[str]) -> argparse.Namespace:
    """Command line over environment over defaults."""
    names = ", ".join(CATALOGUE)
    parser = argparse.ArgumentParser(
        prog="python app.py",
        description="See how a language model picks its next token.",
        epilog="Each option can be given by the environment variable named with it.",
    )

    def option(flag: str, default: object, explanation: str, **more: object) -> None:
        variable = "EXPLORER_" + flag.strip("-").replace("-", "_").upper()
        parser.add_argument(
            flag,
            default=os.environ.get(variable) or default,
            help=f"{explanation} [{variable}]",
            **more,  # type: ignore[arg-type]
        )

    option(
        "--model",
        None,
        f"model to start with: {names}, a Hub id, a folder or a .gguf file "
        f"(default: the server's with --server, else {DEFAULT_MODEL})",
    )
    option("--host", None, "address to listen on; 0.0.0.0 for all (default: 127.0.0.1)")
    option("--port", None, "port to listen on (default: 7860 or the next free one)", type=int)
    option(
        "--models-dir",
        default_models_dir(),
        "cache folder for fetched models (default: %(default)s)",
        type=Path,
    )
    parser.add_argument(
        "--share",
        action="store_true",
        default=os.environ.get("EXPLORER_SHARE", "").lower() in ("1", "true", "yes"),
        help="make a temporary public address through Gradio's servers [EXPLORER_SHARE=1]",
    )
    parser.add_argument(
        "--public",
        action="store_true",
        default=bool(os.environ.get("SPACE_ID")) or os.environ.get("EXPLORER_PUBLIC") == "1",
        help="offer only catalogue models, as on a Hugging Face Space [EXPLORER_PUBLIC=1]",
    )
    option(
        "--memory", 2048, "MiB for remembered distributions and KV caches (default: 2048)", type=int
    )
    option(
        "--model-memory",
        None,
        "MiB for models; beyond it those used longest ago leave (default: 3/4 of all memory)",
        type=int,
    )
    option("--server", None, "address of a model server, such as http://127.0.0.1:8000")
    option("--engine", "vllm", "what runs there: vllm, llama-server or openai (default: vllm)")
    option("--server-model", None, "the server's name of a model, or several with commas between")
    option("--server-key", None, "the server's key; the variable is the safer way to give it")
    option("--tokenizer", None, "folder, Hub id or tiktoken encoding of the server's model")
    option("--server-logprobs", None, "ask for no more than so many candidates", type=int)
    option("--server-timeout", 120, "seconds to wait for an answer (default: 120)", type=float)
    return parser.parse_args(arguments)


def models_of(chosen: argparse.Namespace) -> Models:
    """This machine's models, a server's, or both; on a public page a server's alone."""
    local, budget_bytes = None, chosen.memory * 2**20
    if not (chosen.server and chosen.public):
        local = LocalModels(
            chosen.models_dir,
            chosen.model if chosen.model and not chosen.server else DEFAULT_MODEL,
            public=chosen.public,
            budget_bytes=budget_bytes,
            model_bytes=chosen.model_memory and chosen.model_memory * 2**20,
        )
    if not chosen.server:
        assert local is not None
        return local
    key = chosen.server_key
    if chosen.engine == "openai":
        key = key or os.environ.get("OPENAI_API_KEY")
    server = ServerSettings(
        chosen.server,
        chosen.engine,
        chosen.server_model,
        key,
        chosen.tokenizer,
        chosen.server_logprobs,
        chosen.server_timeout,
    )
    return RemoteModels(server, local, default=chosen.model, budget_bytes=budget_bytes)


use_few_heaps()
chosen = settings(sys.argv[1:] if __name__ == "__main__" else [])
try:
    models = models_of(chosen)
    models.request(models.default)  # loads in the background while Gradio, below, is imported
except (BackendError, ValueError) as error:
    sys.exit(f"app.py: {error}")

from explorer.ui import LAUNCH_OPTIONS, build_ui  # noqa: E402

demo = build_ui(models)


def collect_garbage_again() -> None:
    """Once the model is there, but never again among what was made until then."""
    with suppress(BackendError):  # the page says why it is not
        models.get(models.default)
    gc.freeze()
    gc.enable()


threading.Thread(target=collect_garbage_again, daemon=True).start()

if __name__ == "__main__":
    demo.launch(
        server_name=chosen.host,
        server_port=chosen.port,
        share=chosen.share,
        **LAUNCH_OPTIONS,
    )
