"""The named endpoints for scripts: JSON in, JSON out, exact errors."""

from collections.abc import Callable
from functools import partial, wraps
from inspect import signature
from typing import Any

import gradio as gr
from gradio.context import LocalContext

from explorer.backends.base import (
    AskerGone,
    Backend,
    BackendError,
    ContextTooLong,
    Models,
    TooBusy,
    check_asker,
    check_token_id,
)
from explorer.decoding.parameters import ParameterError
from explorer.session import (
    bits_per_byte,
    continue_text,
    perplexity,
    read_candidates,
    trace_prefix,
)
from explorer.settings import Hosting, Limits
from explorer.ui import arguments, limiting
from explorer.ui.failures import reported
from explorer.ui.messages import Refused
from explorer.ui.payload import score_bounds
from explorer.ui.results import Results
from explorer.ui.watching import Watch, watched
from explorer.ui.workers import Workers
from explorer.ui.zero_gpu import on_gpu
from explorer.views.table import bounds_data, finite, other_row, reasons, table_rows
from explorer.views.text import plain_text, printable

Messages = list[dict[str, str]]


class Api:
    """The four endpoints. A prefix is given by exactly one of prompt, messages and prefix_ids."""

    def __init__(self, models: Models, limits: Limits | None = None) -> None:
        self._models = models
        self._limits = limits or Limits()

    def tokenize(
        self,
        prompt: str | None = None,
        messages: Messages | None = None,
        prefix_ids: list[int] | None = None,
        model: str | None = None,
    ) -> dict[str, Any]:
        """The token ids of a prefix, and the bytes of each."""
        name, backend = self._backend(model)
        prefix = self._prefix(backend, prompt, messages, prefix_ids)
        return {"model": name, "tokens": [_token(backend, token_id) for token_id in prefix]}

    def next_tokens(
        self,
        prompt: str | None = None,
        messages: Messages | None = None,
        prefix_ids: list[int] | None = None,
        model: str | None = None,
        chain: list[dict[str, Any]] | str = "pure",
        top_n: int = 50,
    ) -> dict[str, Any]:
        """The ranked next-token table, before and after a decoding chain."""
        limiting.check_chain(self._limits, chain)
        steps = arguments.chain_argument(chain)
        count = arguments.count_argument("top_n", top_n, 1, self._limits.endpoint_rows)
        name, backend = self._backend(model)
        prefix = self._prefix(backend, prompt, messages, prefix_ids)
        trace = trace_prefix(backend, prefix, steps, len(prefix))
        distribution = trace.distribution
        ranking, candidates = read_candidates(backend, trace, count)
        return {
            "model": name,
            "prefix_ids": list(prefix),
            "entropy": distribution.entropy,
            "entropy_bounds": list(distribution.entropy_bounds),
            "coverage": distribution.coverage,
            "exact": trace.certainty.exact,
            **({"because": reasons(trace)} if trace.certainty.because else {}),
            "kept": ranking.kept,
            "other": other_row(ranking),
            "rows": table_rows(candidates),
        }

    def generate(
        self,
        prompt: str | None = None,
        messages: Messages | None = None,
        prefix_ids: list[int] | None = None,
        model: str | None = None,
        chain: list[dict[str, Any]] | str = "pure",
        seed: int = 0,
        max_tokens: int = 20,
    ) -> dict[str, Any]:
        """Draw tokens one after another, with everything that led to each."""
        limiting.check_chain(self._limits, chain)
        steps = arguments.chain_argument(chain)
        seed = arguments.seed_argument(seed)
        count = arguments.count_argument("max_tokens", max_tokens, 1, self._limits.run_tokens)
        name, backend = self._backend(model)
        prefix = self._prefix(backend, prompt, messages, prefix_ids)
        tokens, raws, stop = [], [], "context_full"
        for drawn in continue_text(backend, prefix, steps, seed, count):
            check_asker()
            token = _token(backend, drawn.token_id)
            tokens.append(
                {
                    **{key: token[key] for key in ("token_id", "text", "bytes_hex")},
                    "raw_probability": drawn.raw_probability,
                    "probability": drawn.probability,
                    "rank": drawn.rank,
                    "entropy": drawn.entropy,
                    "u": drawn.u,
                    **bounds_data(drawn.bounds),
                    **({"unsent": list(drawn.unsent)} if drawn.unsent[1] else {}),
                }
            )
            raws.append(b"" if token["special"] else bytes.fromhex(token["bytes_hex"]))
            if drawn.token_id in backend.info.end_token_ids:
                stop = "end_of_text"
        if stop != "end_of_text" and len(tokens) == count:
            stop = "max_tokens"
        return {
            "model": name,
            "prefix_ids": list(prefix),
            "stop_reason": stop,
            "tokens": tokens,
            "text": plain_text(raws),
        }

    def score(
        self,
        prompt: str | None = None,
        messages: Messages | None = None,
        prefix_ids: list[int] | None = None,
        model: str | None = None,
    ) -> dict[str, Any]:
        """How likely the model finds each token of a text, and the text as a whole."""
        name, backend = self._backend(model)
        prefix = self._prefix(backend, prompt, messages, prefix_ids)
        scored = backend.score(prefix)
        tokens = [
            {
                **{key: _token(backend, token.token_id)[key] for key in ("token_id", "text")},
                "logprob": None if token.logprob is None else finite(token.logprob),
                "rank": token.rank,
                "entropy": token.entropy,
            }
            for token in scored
        ]
        return {
            "model": name,
            "tokens": tokens,
            "perplexity": perplexity(scored),
            "bits_per_byte": bits_per_byte(backend, scored),
            **score_bounds(backend, scored),
        }

    def _backend(self, model: Any) -> tuple[str, Backend]:
        name = arguments.model_argument(model, self._models.default)
        return name, self._models.get(name)

    def _prefix(
        self, backend: Backend, prompt: Any, messages: Any, prefix_ids: Any
    ) -> tuple[int, ...]:
        given = [
            name
            for name, value in (
                ("prompt", prompt),
                ("messages", messages),
                ("prefix_ids", prefix_ids),
            )
            if value is not None
        ]
        if len(given) != 1:
            raise ParameterError(
                "the prefix", given, "given by exactly one of prompt, messages and prefix_ids"
            )
        if prompt is not None:
            limiting.check_prompt(self._limits, prompt)
            prefix = backend.encode(arguments.text_argument("prompt", prompt))
        elif messages is not None:
            said = arguments.messages_argument(messages)
            limiting.check_prompt(self._limits, "".join(one["content"] for one in said))
            prefix = backend.encode_chat(said)
        else:
            prefix = arguments.ids_argument("prefix_ids", prefix_ids)
            limiting.check_prefix(self._limits, len(prefix))
            for token_id in prefix:
                check_token_id(token_id, backend.info)
        if len(prefix) > backend.info.context_length:
            raise ContextTooLong(len(prefix), backend.info.context_length)
        limiting.check_prefix(self._limits, len(prefix))
        return prefix


def _token(backend: Backend, token_id: int) -> dict[str, Any]:
    token = backend.token(token_id)
    return {
        "token_id": token_id,
        "text": printable(token.raw, special=token.special),
        "bytes_hex": token.raw.hex(),
        "special": token.special,
    }


def named_errors(endpoint: Callable[..., Any], hosting: Hosting) -> Callable[..., Any]:
    """What went wrong as the endpoint's answer: a message, never a stack trace."""

    @wraps(endpoint)
    def answered(*args: Any, **kwargs: Any) -> Any:
        try:
            return endpoint(*args, **kwargs)
        except (BackendError, ParameterError, Refused) as error:
            raise gr.Error(str(error), print_exception=False) from error
        except AskerGone as error:
            raise gr.Error("the caller has left", print_exception=False) from error
        except Exception as error:
            refused = reported(error, with_prompts=hosting.log_prompts)
            raise gr.Error(str(refused), print_exception=False) from error

    return answered


def while_wanted(
    workers: Workers, results: Results, endpoint: Callable[..., Any], hosting: Hosting
) -> Callable[..., Any]:
    """The endpoint in a thread, for as long as its caller waits.

    Gradio can stop a generator between two yields, but would send each of them to the caller.
    """
    work = on_gpu(named_errors(endpoint, hosting))

    @wraps(endpoint)
    async def answered(*args: Any, **kwargs: Any) -> Any:
        try:
            return await workers.run(
                partial(work, *args, **kwargs), _caller_has_left(), results.client_here()
            )
        except (TooBusy, Refused) as error:
            raise gr.Error(str(error), print_exception=False) from error
        finally:
            results.answered()

    return answered


def _caller_has_left() -> Callable[[], bool]:
    """Whether the connection that waits for this event of Gradio's queue was closed."""
    blocks, event_id = LocalContext.blocks.get(), LocalContext.event_id.get()
    event = blocks._queue.event_ids_to_events.get(event_id)
    return lambda: event is not None and not event.alive


def add_endpoints(
    models: Models, workers: Workers, results: Results, hosting: Hosting, watch: Watch
) -> dict[str, tuple[str, ...]]:
    """Register the endpoints with the surrounding `gr.Blocks`; their names and arguments."""
    api = Api(models, hosting.limits)
    added = {}
    for endpoint in (api.tokenize, api.next_tokens, api.generate, api.score):
        gr.api(
            watched(while_wanted(workers, results, endpoint, hosting), watch),
            api_name=endpoint.__name__,
            api_description=endpoint.__doc__,
            concurrency_limit=4,
        )
        added[endpoint.__name__] = tuple(signature(endpoint).parameters)
    return added
