"""Engines that answer as the real ones do, over a tiny local model.

What they say was read off vLLM 0.32, llama.cpp's server of October 2026 and OpenAI's reference;
`tests/engines` asks the real ones.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import tiktoken

from explorer.backends.base import ChatRefused, NothingToPredict
from explorer.backends.local import LocalBackend
from explorer.decoding import Distribution

Answer = tuple[int, Any]


def failure(status: int, message: str) -> Answer:
    return status, {"error": {"message": message, "type": "Error", "param": None, "code": status}}


def logprobs_of(distribution: Distribution) -> list[tuple[int, float]]:
    """All tokens, best first; -inf as it is."""
    logits = distribution.logits
    best = math.log(float(distribution.probabilities[0]))
    values = (best + (logits - logits[0])).tolist()
    return list(zip(distribution.token_ids.tolist(), values, strict=True))


class FakeVllm:
    """vLLM with `--max-logprobs`; -1 is the whole vocabulary."""

    def __init__(self, backend: LocalBackend, folder: Path, max_logprobs: int = -1) -> None:
        self.backend = backend
        self.folder = folder
        self.size = backend.info.vocab_size
        self.max_logprobs = self.size if max_logprobs == -1 else max_logprobs
        self.name = "tiny"

    def answer(self, path: str, body: dict[str, Any] | None) -> Answer:
        if path == "/v1/models":
            length = self.backend.info.context_length + 1
            entry = {"id": self.name, "root": str(self.folder), "max_model_len": length}
            return 200, {"object": "list", "data": [entry]}
        if body is None or path not in ("/tokenize", "/v1/completions"):
            return 404, {"detail": "Not Found"}
        if body["model"] != self.name:
            return failure(404, f"The model `{body['model']}` does not exist.")
        if path == "/tokenize":
            token_ids = self.backend.encode(body["prompt"])
            return 200, {"count": len(token_ids), "tokens": list(token_ids)}
        return self._complete(body)

    def _complete(self, body: dict[str, Any]) -> Answer:
        assert body["return_tokens_as_token_ids"] and body["temperature"] == 1
        for kind, name in (("sample", "logprobs"), ("prompt", "prompt_logprobs")):
            wanted = body.get(name) or 0
            wanted = self.size if wanted == -1 else wanted
            if wanted > self.max_logprobs:
                return failure(
                    400,
                    f"Requested {kind} logprobs of {wanted}, which is greater than max allowed: "
                    f"{self.max_logprobs} (parameter={name}, value={wanted})",
                )
        choices = []
        for index, prompt in enumerate(body["prompt"]):
            if len(prompt) > self.backend.info.context_length:
                return failure(400, "max_tokens must be at least 1, got 0.")
            choices.append({"index": index, **self._choice(tuple(prompt), body)})
        return 200, {"choices": choices[::-1]}  # in no order that one may rely on

    def _choice(self, prompt: tuple[int, ...], body: dict[str, Any]) -> dict[str, Any]:
        every = logprobs_of(self.backend.next_distribution(prompt))
        drawn = every[len(every) // 2]  # not among the best, and still comes along, first
        sent = [drawn, *(one for one in every[: body["logprobs"]] if one != drawn)]
        top = {f"token_id:{one}": max(logprob, -9999.0) for one, logprob in sent}
        choice: dict[str, Any] = {"logprobs": {"top_logprobs": [top]}}
        if body.get("prompt_logprobs") is not None:
            rows = [self._row(prompt, end, body) for end in range(1, len(prompt))]
            choice["prompt_logprobs"] = [None, *rows]
        return choice

    def _row(self, prompt: tuple[int, ...], end: int, body: dict[str, Any]) -> dict[str, Any]:
        every = logprobs_of(self.backend.next_distribution(prompt[:end]))
        return {
            str(one): {"logprob": max(logprob, -9999.0), "rank": rank, "decoded_token": "?"}
            for rank, (one, logprob) in enumerate(every, start=1)
            if rank <= body["prompt_logprobs"] or one == prompt[end]
        }


class FakeLlama:
    """llama-server with one model."""

    def __init__(self, backend: LocalBackend) -> None:
        self.backend = backend
        self.size = backend.info.vocab_size

    def answer(self, path: str, body: dict[str, Any] | None) -> Answer:
        info = self.backend.info
        if path == "/v1/models":
            meta = {"vocab_type": 2, "n_vocab": self.size, "n_ctx_train": 99, "ftype": "F32"}
            return 200, {"data": [{"id": "tiny.gguf", "meta": meta}]}
        if path == "/props":
            return 200, {
                "default_generation_settings": {"n_ctx": info.context_length + 1},
                "bos_token": self._written(info.bos_token_id),
                "eos_token": self._written(*info.end_token_ids[:1]),
                "chat_template": "{{ messages }}" if info.has_chat_template else "",
            }
        assert body is not None
        if path == "/tokenize":
            return 200, {"tokens": self._tokenize(body["content"], body["add_special"])}
        if path == "/detokenize":
            return 200, {"content": "".join(self._written(one) for one in body["tokens"])}
        if path == "/apply-template":
            return self._apply_template(body["messages"])
        if path == "/completion":
            return self._complete(body)
        return failure(404, "File Not Found")

    def _tokenize(self, text: str, add_special: bool) -> list[int]:
        for one in range(2):  # <s> and </s>, which a tokenizer would make of them, too
            if text == self._written(one):
                return [one]
        try:
            token_ids = list(self.backend.encode(text))
        except NothingToPredict:
            return []
        if not text:  # the backend's BOS for nothing at all is no token of the text
            return token_ids if add_special and self._begins_with_bos() else []
        return token_ids

    def _begins_with_bos(self) -> bool:
        return self.backend.encode("a")[0] == self.backend.info.bos_token_id

    def _written(self, *token_ids: int | None) -> str:
        raw = b"".join(self.backend.token(one).raw for one in token_ids if one is not None)
        return raw.decode(errors="replace")

    def _apply_template(self, messages: list[dict[str, str]]) -> Answer:
        try:
            token_ids = self.backend.encode_chat(messages)
        except (ChatRefused, jinja2.TemplateError) as error:
            return failure(400, str(error))
        text = self._written(*token_ids)
        return 200, {"prompt": text.removeprefix("<s>") if self._begins_with_bos() else text}

    def _complete(self, body: dict[str, Any]) -> Answer:
        assert body["post_sampling_probs"] is False
        answers = []
        for index, prompt in enumerate(body["prompt"]):
            if len(prompt) > self.backend.info.context_length:
                return failure(400, "request exceeds the available context size")
            every = logprobs_of(self.backend.next_distribution(tuple(prompt)))
            top = [self._candidate(*one) for one in every[: body["n_probs"]]]
            [drawn, _] = (body.get("logit_bias") or [every[0]])[0]
            answer: dict[str, Any] = {"index": index}
            if "\ufffd" not in self._written(drawn):  # else they are kept back
                answer["completion_probabilities"] = [{"top_logprobs": top}]
            answers.append(answer)
        return 200, answers if len(answers) > 1 else answers[0]

    def _candidate(self, token_id: int, logprob: float) -> dict[str, Any]:
        token = self.backend.token(token_id)
        raw = b"" if token.special else token.raw
        # JSON has no -inf; llama.cpp writes the least float.
        logprob = max(logprob, -3.4028234663852886e38)
        return {"id": token_id, "bytes": list(raw), "logprob": logprob}


class FakeOpenAI:
    """A chat model and a completions model, each with few candidates."""

    def __init__(self, encoding: tiktoken.Encoding) -> None:
        self.encoding = encoding

    def answer(self, path: str, body: dict[str, Any] | None) -> Answer:
        if body is None:
            return failure(404, "Invalid URL")
        if path == "/v1/completions" and body["model"] == "old":
            if body["logprobs"] > 5:
                return failure(400, "Invalid value for 'logprobs': must be at most 5.")
            top = {self._text(one): logprob for one, logprob in self._best(body["logprobs"])}
            return 200, {
                "choices": [
                    {"index": index, "logprobs": {"top_logprobs": [top]}}
                    for index in range(len(body["prompt"]))
                ]
            }
        if path == "/v1/chat/completions" and body["model"] == "new":
            top_logprobs = [
                {"token": "?", "bytes": list(self._raw(one)), "logprob": logprob}
                for one, logprob in self._best(body["top_logprobs"])
            ]
            content = [{"top_logprobs": top_logprobs}]
            return 200, {"choices": [{"index": 0, "logprobs": {"content": content}}]}
        return failure(404, "This is not a model of this endpoint")

    def _best(self, count: int) -> Sequence[tuple[int, float]]:
        return [
            (one, math.log(0.9) - 2.5 * place) for place, one in enumerate(range(200, 200 + count))
        ]

    def _raw(self, token_id: int) -> bytes:
        return self.encoding.decode_single_token_bytes(token_id)

    def _text(self, token_id: int) -> str:
        raw = self._raw(token_id)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)


def tiny_encoding() -> tiktoken.Encoding:
    """Bytes and a few words, with an end of text."""
    words = [b" the", b" dog", "日".encode()]
    ranks = {raw: rank for rank, raw in enumerate([*(bytes([b]) for b in range(256)), *words])}
    return tiktoken.Encoding(
        "tiny", pat_str=r"\s?\w+|.|\s", mergeable_ranks=ranks, special_tokens={"<|endoftext|>": 300}
    )
