"""What whoever starts the app decides: the options, and which models there are for them."""

from explorer.settings.command_line import read_settings
from explorer.settings.models import models_of

__all__ = ["models_of", "read_settings"]
