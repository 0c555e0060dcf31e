"""What whoever starts the app decides: the options, and which models there are for them."""

from explorer.settings.command_line import read_settings
from explorer.settings.hosting import Hosting, hosting_of
from explorer.settings.limits import NAMES, PUBLIC, Limits
from explorer.settings.models import models_of

__all__ = [
    "NAMES",
    "PUBLIC",
    "Hosting",
    "Limits",
    "hosting_of",
    "models_of",
    "read_settings",
]
