"""Sound requests of every kind, for a model of five tokens: what fuzzing starts from."""

from typing import Any

from explorer.decoding import chain_to_json, resolve_chain
from tests.ui.hostile import KEY

ALL_STEPS: list[dict[str, Any]] = [
    {"step": "logit_bias", "bias": {"1": 2.0, "2": None}},
    {"step": "banned_sequences", "sequences": [[1, 2], [3]]},
    {"step": "repetition_penalty", "penalty": 1.2, "window": 3},
    {"step": "frequency_presence_penalty", "frequency": 0.1, "presence": 0.2, "window": 0},
    {"step": "dry", "multiplier": 0.8, "base": 1.75, "allowed_length": 2, "breakers": [1]},
    {"step": "no_repeat_ngram", "n": 2},
    {"step": "top_n_sigma", "n": 1.0},
    {"step": "temperature", "temperature": 0.7},
    {"step": "dynamic_temperature", "low": 0.5, "high": 2.0, "exponent": 1.0},
    {"step": "quadratic_smoothing", "factor": 0.2, "curve": 1.0},
    {"step": "top_k", "k": 3},
    {"step": "top_p", "p": 0.9},
    {"step": "min_p", "min_p": 0.05},
    {"step": "typical", "mass": 0.9},
    {"step": "epsilon_cutoff", "epsilon": 0.001},
    {"step": "eta_cutoff", "epsilon": 0.001},
    {"step": "top_a", "a": 0.2},
    {"step": "tail_free", "z": 0.9},
    {"step": "top_h", "h": 0.4},
    {"step": "p_less"},
    {"step": "xtc", "threshold": 0.1, "probability": 0.5},
    {"step": "mirostat_v1", "tau": 3.0, "eta": 0.1, "mu": None, "m": 100},
    {"step": "mirostat_v2", "tau": 3.0, "eta": 0.1, "mu": None},
    {"step": "greedy"},
]
CONSTRAINTS = [{"step": "constraint", "regex": "a+"}, {"step": "constraint", "json_schema": "{}"}]
SHOWN = {"top_n": 50, "whole_strip": False, "with_ledger": True, "with_tree": True}


def _request(action: str, **more: Any) -> dict[str, Any]:
    shown = {**SHOWN, "with_score": True, "tree_known": ""}
    return {"action": action, "key": KEY, **shown, **more}


ASK = _request("ask", prompt="a b", chat=False, model="small", seed=3, chain="llama3")
REQUESTS = [
    ASK,
    _request("settings", seed=1, chain=ALL_STEPS),
    *(_request("settings", seed=3, chain=[step]) for step in ALL_STEPS),
    *(_request(action, joined=True) for action in ("step", "sample")),
    *(_request(action) for action in ("reset", "open", "undo", "redo", "ahead_on", "branches")),
    *(_request(action) for action in ("csv", "path_csv", "json", "text", "link")),
    _request("status", model="small"),
    _request("pick", token_id=1),
    _request("rewind", depth=0),
    _request("jump", position=1),
    _request("adopt", token_ids=[1, 2], from_ahead=False),
    _request("go_to", node_id=1),
    _request("mark", node_id=1, name="x", pinned=True),
    _request("delete", node_id=1),
    _request("ahead", kind="beam", width=3, depth=3, length_penalty=1.0),
    _request("ahead", kind="cover", share=0.8, depth=3, most_nodes=50),
    *(_request("ahead", kind=kind, depth=3) for kind in ("greedy", "sample")),
    _request("change", token_id=2),
    _request("roll", count=100, seed=1, which="next"),
    _request("fall", u=0.5, which="last"),
    _request("encode", text="a"),
    _request("characters", passes=2),
    _request("words", words=["a", "a b"]),
]
CALLS: dict[str, dict[str, Any]] = {
    "tokenize": {"prompt": "a b", "messages": None, "prefix_ids": None, "model": None},
    "next_tokens": {
        "prompt": None,
        "messages": None,
        "prefix_ids": [0, 1],
        "model": "small",
        "chain": ALL_STEPS,
        "top_n": 50,
    },
    "generate": {
        "prompt": "a",
        "messages": None,
        "prefix_ids": None,
        "model": None,
        "chain": chain_to_json(resolve_chain("mirostat")),
        "seed": 0,
        "max_tokens": 3,
    },
    "score": {
        "prompt": None,
        "messages": [{"role": "user", "content": "a"}],
        "prefix_ids": None,
        "model": "chatty",
    },
}
