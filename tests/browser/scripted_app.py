"""`python -m tests.browser.scripted_app PORT`: the app with a model of bytes, up in a moment."""

import sys
import time

from explorer.backends import ScriptedBackend
from explorer.decoding import Distribution
from explorer.ui import LAUNCH_OPTIONS, build_ui
from tests.ui.asking import FakeModels

STEP_S = 0.05


class Bytes(ScriptedBackend):
    """Any text, a token for each byte, all equally likely; a pass takes its time."""

    def __init__(self) -> None:
        super().__init__([bytes([value]) for value in range(256)], context_length=2000)

    def next_distribution(self, prefix: tuple[int, ...]) -> Distribution:
        if len(prefix) > 1:
            time.sleep(STEP_S)
        return super().next_distribution(prefix)


if __name__ == "__main__":
    build_ui(FakeModels(small=Bytes())).launch(
        server_port=int(sys.argv[1]), quiet=True, **LAUNCH_OPTIONS
    )
