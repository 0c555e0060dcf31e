"""A reading as the JSON that the page draws."""

from collections.abc import Callable, Sequence
from typing import Any

from explorer.backends.base import Backend, LoadStatus, ModelChoice, ScoredToken
from explorer.decoding import chain_to_json, uniform
from explorer.session import Reading, Session, bits_per_byte, bits_per_token, perplexity, unlisted
from explorer.ui.messages import error_facts
from explorer.views.chart import chart_data
from explorer.views.lab import TextOf, dials, dice, ledger_data, stages, tokens_in
from explorer.views.score import score_series
from explorer.views.strip import pending_bytes, strip_chips
from explorer.views.table import completions, other_row, summary, table_rows
from explorer.views.text import printable
from explorer.views.tree import tree_nodes

STRIP_TOKENS = 400  # the last tokens of a long path; the page asks for all of them on demand


def texts_of(backend: Backend) -> TextOf:
    """From a token id to its printable text."""

    def text_of(token_id: int) -> str:
        token = backend.token(token_id)
        return printable(token.raw, special=token.special)

    return text_of


def bytes_of(backend: Backend) -> Callable[[int], bytes]:
    """From a token id to the bytes that it adds to a text: none for a special token."""

    def spelled(token_id: int) -> bytes:
        token = backend.token(token_id)
        return b"" if token.special else token.raw

    return spelled


def table_payload(reading: Reading, backend: Backend, *, with_ledger: bool) -> dict[str, Any]:
    """What a slider changes."""
    session, trace = reading.session, reading.trace
    rows = table_rows(reading.candidates)
    pending = pending_bytes(reading.path)
    if pending:
        for row, completes in zip(rows, completions(reading.candidates, pending), strict=True):
            row["completes"] = completes
    u = uniform(session.seed, len(reading.path))
    text_of = texts_of(backend)
    return {
        "rows": rows,
        "other": other_row(reading.ranking),
        "summary": summary(trace, reading.ranking),
        "chart": chart_data(reading.candidates, reading.ranking.kept),
        "chain": chain_to_json(session.chain),
        "tokens_in_chain": tokens_in(session.chain, backend.info.vocab_size, text_of),
        "stages": stages(trace, session, text_of),
        "ledger": ledger_data(trace, reading.candidates) if with_ledger else None,
        "next_draw": dice(session.next_draw(backend), u, text_of),
        "dials": dials(session, trace, text_of),
        "seed": session.seed,
    }


def view_payload(
    reading: Reading,
    backend: Backend,
    *,
    with_ledger: bool,
    with_tree: bool,
    with_score: bool,
    tree_known: str,
    whole_strip: bool,
) -> dict[str, Any]:
    """Everything."""
    session, info = reading.session, reading.info
    start = 0 if whole_strip else max(0, len(reading.path) - STRIP_TOKENS)
    here, drawn_from = session.now.tree.here, session.last_draw(backend)
    return {
        **table_payload(reading, backend, with_ledger=with_ledger),
        "last_draw": None
        if drawn_from is None or here is None or here.u is None
        else dice(drawn_from, here.u, texts_of(backend)),
        "model": {
            "name": session.now.model,
            "vocab_size": info.vocab_size,
            "context_length": info.context_length,
            "family": info.tokenizer_family,
            "chat": info.has_chat_template,
            "licence": info.licence,
            "dtype": info.dtype,
            "device": info.device,
        },
        "prompt": {"text": session.now.prompt.text, "chat": session.now.prompt.chat},
        "length": len(reading.path),
        "prompt_length": len(session.now.tree.prompt),
        "chips": strip_chips(reading.path, start),
        "chips_from": start,
        "score": {
            **_score(backend, session),
            "series": score_series(reading.path) if with_score else None,
        },
        "stop": reading.stop,
        "can_undo": bool(session.past),
        "can_redo": bool(session.future),
        "node_count": sum(not node.deleted for node in session.now.tree.nodes),
        "tree": tree_nodes(session.now.tree, texts_of(backend), tree_known) if with_tree else None,
    }


def score_bounds(backend: Backend, scored: Sequence[ScoredToken]) -> dict[str, float | None]:
    """How well a model predicts a text: bounds where a server did not list each of its tokens."""
    missing = unlisted(scored)
    if not missing:
        return {}
    return {
        "unlisted": missing,
        "perplexity_at_least": perplexity(scored, at_least=True),
        "bits_per_token_at_least": bits_per_token(scored, at_least=True),
        "bits_per_byte_at_least": bits_per_byte(backend, scored, at_least=True),
    }


def _score(backend: Backend, session: Session) -> dict[str, float | None]:
    """How well the model predicts the whole text, prompt and continuation."""
    scored = backend.score(session.prefix)
    return {
        **score_bounds(backend, scored),
        "perplexity": perplexity(scored),
        "bits_per_token": bits_per_token(scored),
        "bits_per_byte": bits_per_byte(backend, scored),
    }


def choice_payload(choice: ModelChoice) -> dict[str, Any]:
    return {
        "name": choice.name,
        "title": choice.title,
        "parameters": choice.parameters,
        "languages": list(choice.languages),
        "licence": choice.licence,
        "licence_url": choice.licence_url,
        "needs_hub": choice.needs_hub,
        "download_bytes": choice.download_bytes,
        "rounds": choice.rounds,
    }


def status_payload(name: str, status: LoadStatus) -> dict[str, Any]:
    return {
        "model": name,
        "phase": status.phase,
        "done_bytes": status.done_bytes,
        "total_bytes": status.total_bytes,
        "error": error_facts(status.error) if status.error else None,
    }
