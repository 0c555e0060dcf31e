"""Everything that owns weights or a socket: text to ids, ids to distributions."""

from explorer.backends.base import Backend, BackendError, ModelInfo, Models, ScoredToken, Token
from explorer.backends.loading import LocalModels, default_models_dir
from explorer.backends.remote_models import RemoteModels, ServerSettings
from explorer.backends.scripted import ScriptedBackend

__all__ = [
    "Backend",
    "BackendError",
    "LocalModels",
    "ModelInfo",
    "Models",
    "RemoteModels",
    "ScoredToken",
    "ScriptedBackend",
    "ServerSettings",
    "Token",
    "default_models_dir",
]
