"""From logits to the next token: exact rules, in any order, that remember what they cut.

This package is pure: NumPy in, NumPy out. It knows no model, no tokenizer and no screen.
"""

from explorer.decoding.chain import Stage, Trace, advance, decode, draw
from explorer.decoding.codec import STEPS, chain_from_json, chain_to_json, resolve_chain
from explorer.decoding.distribution import Candidates, Distribution
from explorer.decoding.parameters import ParameterError
from explorer.decoding.presets import PRESETS
from explorer.decoding.randomness import uniform
from explorer.decoding.ranking import RankedToken, Ranking, rank_candidates
from explorer.decoding.step import Chain, StatefulStep, Step, step_name
from explorer.decoding.temperature import Temperature
from explorer.decoding.truncation import Greedy, MinP, TopK, TopP

__all__ = [
    "PRESETS",
    "STEPS",
    "Candidates",
    "Chain",
    "Distribution",
    "Greedy",
    "MinP",
    "ParameterError",
    "RankedToken",
    "Ranking",
    "Stage",
    "StatefulStep",
    "Step",
    "Temperature",
    "TopK",
    "TopP",
    "Trace",
    "advance",
    "chain_from_json",
    "chain_to_json",
    "decode",
    "draw",
    "rank_candidates",
    "resolve_chain",
    "step_name",
    "uniform",
]
