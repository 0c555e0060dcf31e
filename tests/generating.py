"""Beam search as transformers does it, for comparison."""

import torch

from explorer.backends.local import LocalBackend


def generated(
    backend: LocalBackend, prefix: tuple[int, ...], width: int, depth: int, penalty: float
) -> list[tuple[tuple[int, ...], float | None]]:
    """What transformers finds: token ids up to the end, and scores, best first."""
    ends = list(backend.info.end_token_ids)
    with torch.inference_mode():
        found = backend.model.generate(
            torch.tensor([prefix]),
            attention_mask=torch.ones(1, len(prefix), dtype=torch.long),
            num_beams=width,
            max_new_tokens=depth,
            length_penalty=penalty,
            do_sample=False,
            num_return_sequences=width,
            return_dict_in_generate=True,
            output_scores=True,
            eos_token_id=ends,
            pad_token_id=0,
            repetition_penalty=1.0,
            temperature=1.0,
            top_p=1.0,
        )
    rows = found.sequences[:, len(prefix) :].tolist()
    lengths = [next((at + 1 for at, i in enumerate(row) if i in ends), len(row)) for row in rows]
    scores = [None] if width == 1 else found.sequences_scores.tolist()
    sequences = [tuple(row[:end]) for row, end in zip(rows, lengths, strict=True)]
    return list(zip(sequences, scores, strict=True))
