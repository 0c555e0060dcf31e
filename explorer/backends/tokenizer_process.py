"""What the process of `tokenizer_apart` does: it loads a tokenizer and answers for it.

This file is run as a script, with a folder or Hub id. Questions come on its standard input,
`(method, arguments, options)` pickled, and answers go to its standard output: whether it went
well, and the result or what stood in the way. It ends when its input does.
"""

import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, BinaryIO

NICENESS = 5  # of loading: more, and it hardly ends while others work without a break
REFUSED = "refused"  # by a chat template
FAILED = "failed"


def main(source: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal, which is meant for the parent
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no answer
    served = _gently(lambda: Served(source))
    while True:
        try:
            method, arguments, options = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        _write(answers, _answer(getattr(served, method), arguments, options))


def _gently(load: "Callable[[], Served]") -> "Served":
    """Load in a thread that gives way; on Linux niceness is a thread's, and can't be taken back."""
    if sys.platform != "linux":
        return load()
    loaded: list[Served] = []

    def work() -> None:
        os.nice(NICENESS)
        loaded.append(load())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return loaded[0] if loaded else sys.exit(1)  # the thread has said why


def _answer(
    method: Callable[..., Any], arguments: tuple[Any, ...], options: dict[str, Any]
) -> tuple[str, Any]:
    import jinja2

    try:
        return "", method(*arguments, **options)
    except jinja2.TemplateError as error:
        return REFUSED, str(error)
    except Exception as error:  # whoever asked is told, and this process goes on
        return FAILED, f"{type(error).__name__}: {error}"


def _write(answers: BinaryIO, answer: tuple[str, Any]) -> None:
    pickle.dump(answer, answers, pickle.HIGHEST_PROTOCOL)
    answers.flush()


class Served:
    """A transformers tokenizer, as far as it is asked from outside."""

    def __init__(self, source: str) -> None:
        # A module that is None counts as not installed. transformers does tokenizers without
        # torch, which takes more memory, and longer to import, than all but the largest of them.
        sys.modules["torch"] = None  # type: ignore[assignment]
        from transformers import AutoTokenizer

        self._tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)

    def facts(self) -> dict[str, Any]:
        """What it says of itself, and how many entries it has."""
        tokenizer = self._tokenizer
        return {
            "size": max(tokenizer.get_vocab().values(), default=-1) + 1,
            "decoder": tokenizer.backend_tokenizer.decoder,
            "added_tokens_decoder": tokenizer.added_tokens_decoder,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "chat_template": tokenizer.chat_template,
        }

    def entries(self, first: int, end: int) -> list[str | None]:
        found: list[str | None] = self._tokenizer.convert_ids_to_tokens(range(first, end))
        return found

    def encode(self, text: str, **options: Any) -> list[int]:
        return list(self._tokenizer(text, **options)["input_ids"])

    def encode_chat(self, messages: list[dict[str, str]], **options: Any) -> list[int]:
        return list(self._tokenizer.apply_chat_template(messages, **options)["input_ids"])


if __name__ == "__main__":
    main(sys.argv[1])
