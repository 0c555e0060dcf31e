"""A model that says the same after every text: what is looked at here is the page around it."""

from explorer.backends import ScriptedBackend
from tests.ui.serving import BYTES

WORDS = "␣the ␣a ␣of ␣Paris ␣France ␣city ␣is ␣in ␣on ␣and ␣was ␣<b> 東京 は 。 א \u202e \n"
VOCABULARY = [word.replace("␣", " ").encode() for word in WORDS.split(" ")] + [b"</s>", *BYTES]
END = VOCABULARY.index(b"</s>")
WEIGHTS = [0.6**place for place in range(END)] + [1e-4] * (len(VOCABULARY) - END)


class Steady(ScriptedBackend):
    """The same distribution after every prefix."""

    def next_distribution(self, prefix):
        self._script.setdefault(prefix, WEIGHTS)
        return super().next_distribution(prefix)


def steady() -> Steady:
    return Steady(VOCABULARY, special=[END], end_token_ids=(END,), context_length=500, chat=True)
