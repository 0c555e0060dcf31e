"""Chains as JSON: `[{"step": "top_p", "p": 0.9}, …]`."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

from explorer.decoding.bans import BannedSequences, NoRepeatNgram
from explorer.decoding.constraint import Constraint
from explorer.decoding.mirostat import MirostatV1, MirostatV2
from explorer.decoding.parameters import ParameterError, not_one_of
from explorer.decoding.penalties import (
    Dry,
    FrequencyPresencePenalty,
    LogitBias,
    RepetitionPenalty,
)
from explorer.decoding.presets import PRESETS
from explorer.decoding.step import Chain, Step, step_name
from explorer.decoding.temperature import DynamicTemperature, QuadraticSmoothing, Temperature
from explorer.decoding.thresholds import EpsilonCutoff, EtaCutoff, PLess, TopA, TopNSigma
from explorer.decoding.truncation import Greedy, MinP, TopK, TopP
from explorer.decoding.typicality import TailFree, TopH, Typical
from explorer.decoding.xtc import Xtc

_CLASSES: tuple[type[Step], ...] = (
    LogitBias,
    BannedSequences,
    Constraint,
    RepetitionPenalty,
    FrequencyPresencePenalty,
    Dry,
    NoRepeatNgram,
    TopNSigma,
    Temperature,
    DynamicTemperature,
    QuadraticSmoothing,
    TopK,
    TopP,
    MinP,
    Typical,
    EpsilonCutoff,
    EtaCutoff,
    TopA,
    TailFree,
    TopH,
    PLess,
    Xtc,
    MirostatV1,
    MirostatV2,
    Greedy,
)
STEPS: dict[str, type[Step]] = {step_name(step): step for step in _CLASSES}

MAX_STEPS = 64  # far above any chain in use; keeps a hostile request small


def chain_to_json(chain: Sequence[Step]) -> list[dict[str, Any]]:
    """The chain as plain data.

    >>> chain_to_json([Temperature(0.6), TopP(0.9)])
    [{'step': 'temperature', 'temperature': 0.6}, {'step': 'top_p', 'p': 0.9}]
    """
    return [
        {
            "step": step_name(step),
            **{
                field.name: field.metadata.get("to_json", _plain)(getattr(step, field.name))
                for field in fields(step)
                if field.metadata.get("json", True)
            },
        }
        for step in chain
    ]


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def chain_from_json(data: Any) -> Chain:
    """The chain that plain data describes; `ValueError` names what is wrong.

    >>> chain_from_json([{"step": "top_k", "k": 40}])
    (TopK(k=40),)
    >>> chain_from_json([{"step": "top_k", "q": 40}])
    Traceback (most recent call last):
    explorer.decoding.parameters.ParameterError: chain[0] (top_k) field must be one of k, got 'q'
    """
    if not isinstance(data, list | tuple):
        raise ParameterError("chain", data, "a list of steps")
    if len(data) > MAX_STEPS:
        raise ParameterError("chain", f"{len(data)} steps", f"at most {MAX_STEPS} steps")
    return tuple(_step_from_json(item, f"chain[{number}]") for number, item in enumerate(data))


def _step_from_json(item: Any, where: str) -> Step:
    if not isinstance(item, Mapping):
        raise ParameterError(where, item, 'an object such as {"step": "top_p", "p": 0.9}')
    name = item.get("step")
    if not isinstance(name, str) or name not in STEPS:
        raise not_one_of(f"{where}.step", name, sorted(STEPS))
    kind = STEPS[name]
    known = {field.name: field for field in fields(kind) if field.metadata.get("json", True)}
    given = {key: value for key, value in item.items() if key != "step"}
    for key in given:
        if key not in known:
            field_name = f"{where} ({name}) field"
            if known:
                raise not_one_of(field_name, key, list(known))
            raise ParameterError(field_name, key, "absent: this step has no field")
    for field in known.values():
        if field.name not in given and field.default is MISSING:
            raise ParameterError(f"{where}.{field.name}", None, f"given for {name}")
    try:
        return kind(**given)
    except ParameterError as error:
        raise error.renamed(f"{where}.{error.parameter}") from error


def resolve_chain(chain: Any) -> Chain:
    """A chain from a preset's name or from JSON data.

    >>> resolve_chain("llama3")
    (Temperature(temperature=0.6), TopP(p=0.9))
    """
    if isinstance(chain, str):
        if chain not in PRESETS:
            raise ParameterError("chain", chain, f"a list of steps or one of {', '.join(PRESETS)}")
        return PRESETS[chain]
    return chain_from_json(chain)
