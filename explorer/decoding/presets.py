"""Chains that people use elsewhere, in the order in which they are applied there."""

from explorer.decoding.mirostat import MirostatV1, MirostatV2
from explorer.decoding.penalties import FrequencyPresencePenalty
from explorer.decoding.step import Chain
from explorer.decoding.temperature import Temperature
from explorer.decoding.truncation import Greedy, MinP, TopK, TopP

PRESETS: dict[str, Chain] = {
    "greedy": (Greedy(),),
    "pure": (),
    "temperature": (Temperature(0.7),),
    "top_k": (TopK(40),),
    "top_p": (TopP(0.9),),
    "min_p": (MinP(0.1),),
    # meta-llama/llama3, generation.py: temperature 0.6 and top_p 0.9 by default.
    "llama3": (Temperature(0.6), TopP(0.9)),
    # transformers applies top_k = 50 even when nobody asked for it.
    "transformers": (Temperature(1.0), TopK(50), TopP(1.0)),
    # llama.cpp truncates first and applies the temperature last.
    "llama_cpp": (TopK(40), TopP(0.95), MinP(0.05), Temperature(0.8)),
    # vLLM, with nothing asked for: penalties off, temperature 1, nothing cut.
    "vllm": (Temperature(1.0), MinP(0.0), TopK(0), TopP(1.0)),
    # The parameters of OpenAI's API at their defaults, in vLLM's order for the same names.
    "openai": (FrequencyPresencePenalty(0.0, 0.0), Temperature(1.0), TopP(1.0)),
    # llama.cpp: temperature, then Mirostat, and no other rule that cuts.
    "mirostat_v1": (Temperature(0.8), MirostatV1(5.0, 0.1)),
    "mirostat": (Temperature(0.8), MirostatV2(5.0, 0.1)),
}
