"""How much models of this process have computed since it began."""

from dataclasses import dataclass


@dataclass(slots=True)
class Computed:
    """Written by the one thread that models compute on; others read."""

    passes: int = 0
    tokens: int = 0  # that these passes read

    def count(self, tokens: int) -> None:
        self.passes += 1
        self.tokens += tokens


COMPUTED = Computed()
