"""From the settings to the models that are offered."""

import argparse
import os

from explorer.backends import LocalModels, Models, RemoteModels, ServerSettings
from explorer.backends.catalogue import DEFAULT_MODEL


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
            after_page=True,
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
