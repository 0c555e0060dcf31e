"""Options and their environment variables."""

import argparse
import os
from pathlib import Path

from explorer.backends import default_models_dir
from explorer.backends.catalogue import CATALOGUE, DEFAULT_MODEL

YES = ("1", "true", "yes")


def variable_of(flag: str) -> str:
    """
    >>> variable_of("--models-dir")
    'EXPLORER_MODELS_DIR'
    """
    return "EXPLORER_" + flag.strip("-").replace("-", "_").upper()


def read_settings(arguments: list[str]) -> argparse.Namespace:
    """Command line over environment over defaults."""
    names = ", ".join(CATALOGUE)
    parser = argparse.ArgumentParser(
        prog="python app.py",
        description="See how a language model picks its next token.",
        epilog="Each option can be given by the environment variable named with it.",
    )

    def option(flag: str, default: object, explanation: str, **more: object) -> None:
        variable = variable_of(flag)
        parser.add_argument(
            flag,
            default=os.environ.get(variable) or default,
            help=f"{explanation} [{variable}]",
            **more,  # type: ignore[arg-type]
        )

    def switch(flag: str, explanation: str, *, default: bool = False) -> None:
        variable = variable_of(flag)
        parser.add_argument(
            flag,
            action="store_true",
            default=os.environ.get(variable, "").lower() in YES or default,
            help=f"{explanation} [{variable}=1]",
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
    switch("--share", "make a temporary public address through Gradio's servers")
    switch(
        "--public",
        "for the open internet: catalogue models only, tight limits (on by itself in a Space)",
        default=bool(os.environ.get("SPACE_ID")),
    )
    option("--limits", None, "other limits, such as prompt_tokens=500,beams=4; see the README")
    option("--password", None, "ask for this password; the variable is the safer way to give it")
    option("--hosts", None, "names that the app answers to, with commas between (default: all)")
    option(
        "--proxies", None, "how many proxies stand in front (default: 0; 1 in a Space)", type=int
    )
    switch("--log-prompts", "write what users type into the log when something goes wrong")
    option("--session-hours", 6, "hours that a session is kept unused (default: 6)", type=float)
    option(
        "--metrics",
        None,
        "on or off: /metrics for Prometheus (default: on, but off with --public or a password)",
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
