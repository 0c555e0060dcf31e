"""From logits to the next token: exact rules, in any order, that remember what they cut.

This package is pure: NumPy in, NumPy out. It knows no model, no tokenizer and no screen.
"""

from explorer.decoding.bans import BannedSequences, NoRepeatNgram
from explorer.decoding.candidates import Candidates
from explorer.decoding.certainty import Certainty, Doubt, Reason
from explorer.decoding.chain import (
    Stage,
    Trace,
    advance,
    decode,
    draw,
    observe,
    place_drawn,
    resume,
)
from explorer.decoding.codec import STEPS, chain_from_json, chain_to_json, resolve_chain
from explorer.decoding.constraint import Constraint, Fit, Grammar
from explorer.decoding.dice import ChiSquare, Rolls, Segment, roll, segments
from explorer.decoding.distribution import Distribution
from explorer.decoding.divergence import Divergence, divergence
from explorer.decoding.least_change import Alternative, Change, to_be_alone, to_survive
from explorer.decoding.ledger import LedgerRow, Miss, curve, ledger
from explorer.decoding.measure import CuttingStep, Measured, MeasuringStep
from explorer.decoding.mirostat import MirostatV1, MirostatV2, Observation
from explorer.decoding.parameters import ParameterError
from explorer.decoding.penalties import (
    Dry,
    FrequencyPresencePenalty,
    LogitBias,
    RepetitionPenalty,
)
from explorer.decoding.presets import PRESETS
from explorer.decoding.randomness import uniform
from explorer.decoding.ranking import RankedToken, Ranking, rank_candidates
from explorer.decoding.spelling import NextCharacters, Spelling
from explorer.decoding.step import Chain, StatefulStep, Step, step_name
from explorer.decoding.temperature import DynamicTemperature, QuadraticSmoothing, Temperature
from explorer.decoding.thresholds import EpsilonCutoff, EtaCutoff, PLess, TopA, TopNSigma
from explorer.decoding.ticks import Tick, ticks
from explorer.decoding.truncation import Greedy, MinP, TopK, TopP
from explorer.decoding.typicality import TailFree, TopH, Typical
from explorer.decoding.xtc import Xtc, flip

__all__ = [
    "PRESETS",
    "STEPS",
    "Alternative",
    "BannedSequences",
    "Candidates",
    "Certainty",
    "Chain",
    "Change",
    "ChiSquare",
    "Constraint",
    "CuttingStep",
    "Distribution",
    "Divergence",
    "Doubt",
    "Dry",
    "DynamicTemperature",
    "EpsilonCutoff",
    "EtaCutoff",
    "Fit",
    "FrequencyPresencePenalty",
    "Grammar",
    "Greedy",
    "LedgerRow",
    "LogitBias",
    "Measured",
    "MeasuringStep",
    "MinP",
    "MirostatV1",
    "MirostatV2",
    "Miss",
    "NextCharacters",
    "NoRepeatNgram",
    "Observation",
    "PLess",
    "ParameterError",
    "QuadraticSmoothing",
    "RankedToken",
    "Ranking",
    "Reason",
    "RepetitionPenalty",
    "Rolls",
    "Segment",
    "Spelling",
    "Stage",
    "StatefulStep",
    "Step",
    "TailFree",
    "Temperature",
    "Tick",
    "TopA",
    "TopH",
    "TopK",
    "TopNSigma",
    "TopP",
    "Trace",
    "Typical",
    "Xtc",
    "advance",
    "chain_from_json",
    "chain_to_json",
    "curve",
    "decode",
    "divergence",
    "draw",
    "flip",
    "ledger",
    "observe",
    "place_drawn",
    "rank_candidates",
    "resolve_chain",
    "resume",
    "roll",
    "segments",
    "step_name",
    "ticks",
    "to_be_alone",
    "to_survive",
    "uniform",
]
