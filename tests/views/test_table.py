"""The table, its summary and the chart of it."""

import json
import math

import numpy as np
import pytest

from explorer.backends import ScriptedBackend
from explorer.decoding import Distribution, RankedToken, Temperature, TopK, decode, rank_candidates
from explorer.session import Candidate, Prompt, Session, read
from explorer.views import chart_data, summary, table_rows
from explorer.views.chart import MAX_BARS
from explorer.views.files import table_csv
from explorer.views.lab import dice, ledger_data
from explorer.views.table import completions, finite, other_row


def candidate(raw: bytes, *, special: bool = False, logit: float = 0.0) -> Candidate:
    return Candidate(RankedToken(1, 0, logit, 0.5, 0.25, None), raw, special)


def candidates_of(*probabilities: float, keep: int = 0) -> tuple[tuple[Candidate, ...], int]:
    trace = decode(np.log(probabilities), [TopK(keep)])
    ranking = rank_candidates(trace, len(probabilities))
    return tuple(Candidate(row, b"x", False) for row in ranking.rows), ranking.kept


def test_a_row() -> None:
    ranked = RankedToken(3, 17, -2.5, 0.25, 0.0, "top_k")
    assert table_rows([Candidate(ranked, b" \xe3\x81", False)]) == [
        {
            "rank": 3,
            "token_id": 17,
            "text": "␣⟨E3 81⟩",
            "bytes_hex": "20e381",
            "special": False,
            "logit": -2.5,
            "raw_probability": 0.25,
            "probability": 0.0,
            "cut_by": "top_k",
        }
    ]


def test_special_tokens_are_marked_and_named() -> None:
    (row,) = table_rows([candidate(b"</s>", special=True)])
    assert (row["text"], row["special"], row["bytes_hex"]) == ("</s>", True, "3c2f733e")


def test_markup_stays_text() -> None:
    (row,) = table_rows([candidate(b"<img src=x onerror=alert(1)>")])
    assert row["text"] == "<img␣src=x␣onerror=alert(1)>"


def test_a_logit_without_a_number_is_unknown() -> None:
    (row,) = table_rows([candidate(b"a", logit=-math.inf)])
    assert row["logit"] is None
    json.dumps(row, allow_nan=False)


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0.0, 0.0), (-2.5, -2.5), (math.inf, None), (-math.inf, None), (math.nan, None)],
)
def test_only_finite_numbers_are_shown(number: float, shown: float | None) -> None:
    assert finite(number) == shown


def test_no_candidates_no_rows() -> None:
    assert table_rows([]) == []


def test_what_each_candidate_makes_of_a_begun_character() -> None:
    found = completions(
        [
            candidate(b"\x82"),
            candidate(b"\x84"),
            candidate(b"\x82\x82"),
            candidate(b"\x82!"),
            candidate(b"a"),
            candidate(b"\x82", special=True),
        ],
        b"\xe3\x81",
    )
    assert found == ["あ", "い", None, "あ!", None, None]


def test_nothing_begun_nothing_completed() -> None:
    assert completions([candidate(b"a"), candidate(b"\x82")], b"") == [None, None]


def test_the_rest_as_a_row() -> None:
    ranking = rank_candidates(decode(np.log([0.5, 0.3, 0.2]), [TopK(2)]), 1)
    assert other_row(ranking) == {
        "count": 2,
        "raw_probability": pytest.approx(0.5),
        "probability": pytest.approx(0.375),
    }


def test_the_summary_is_in_bits() -> None:
    trace = decode(np.log([0.5, 0.25, 0.125, 0.125]), [TopK(2), Temperature(1)])
    assert summary(trace, rank_candidates(trace, 4)) == {
        "kept": 2,
        "vocab_size": 4,
        "mass": pytest.approx(0.75),
        "coverage": 1.0,
        "raw_entropy": pytest.approx(1.75),
        # 2/3 and 1/3: log2 3 - 2/3
        "entropy": pytest.approx(math.log2(3) - 2 / 3),
    }


def test_the_summary_of_a_partial_distribution_leaves_the_entropy_open() -> None:
    known = Distribution(np.array([7, 2]), np.log([0.6, 0.2]), coverage=0.8, vocab_size=10)
    trace = decode(known, [])
    shown = summary(trace, rank_candidates(trace, 5))
    assert (shown["raw_entropy"], shown["coverage"], shown["vocab_size"]) == (None, 0.8, 10)
    assert shown["mass"] == pytest.approx(0.8)
    partial = shown["partial"]
    assert (partial["sent"], partial["exact"]) == (2, True)
    assert partial["unsent"] == pytest.approx([0.2, 0.2])
    assert partial["raw_entropy"] == pytest.approx(partial["entropy"])
    low, high = partial["raw_entropy"]
    # One other token of 0.2, or eight that share it.
    least = -sum(p * math.log2(p) for p in (0.6, 0.2, 0.2))
    assert (low, high - low) == pytest.approx((least, 0.2 * math.log2(8)))
    assert "because" not in shown


def test_the_summary_says_why_a_final_probability_is_not_exact() -> None:
    known = Distribution(np.array([7, 2]), np.log([0.6, 0.2]), coverage=0.8)
    trace = decode(known, [TopK(0), Temperature(2.0)])
    ranking = rank_candidates(trace, 5)
    shown = summary(trace, ranking)
    assert shown["because"] == [{"number": 1, "step": "temperature", "reason": "tail_weight"}]
    assert shown["entropy"] is None and shown["partial"]["entropy"][1] is None
    other = other_row(ranking)
    assert 0 < other["probability_low"] <= other["probability"] < other["probability_high"] == 1


def test_the_rows_of_what_is_not_exact_have_bounds() -> None:
    backend = ScriptedBackend([b"a", b"b", b"c", b"d"], {(0,): [0.5, 0.3, 0.1, 0.1]}, top_n=2)
    session = Session.start("m", backend, Prompt("a"), (Temperature(0.5),))
    reading = read(session, backend, 5)
    for row in table_rows(reading.candidates):
        assert row["probability_low"] <= row["probability"] <= row["probability_high"]
    assert "probability_low" in table_csv(reading.candidates).splitlines()[0]
    data = chart_data(reading.candidates, reading.ranking.kept)
    assert data["bounds"] == [candidate.ranked.bounds for candidate in reading.candidates]
    data = ledger_data(reading.trace, reading.candidates)
    assert data["certain"] == [False]
    strip = dice(reading.trace, 0.5, str)
    assert strip["segments"][-1]["high"] == pytest.approx(1)
    assert strip["probability"] == pytest.approx(25 / 34)
    assert 0 < strip["unsent"][0] <= strip["unsent"][1] < 1


def test_the_table_of_a_session() -> None:
    backend = ScriptedBackend([b"a", b"\n"], {(0,): [0.25, 0.75]})
    reading = read(Session.start("m", backend, Prompt("a")), backend, 5)
    rows = table_rows(reading.candidates)
    assert [(row["text"], row["raw_probability"]) for row in rows] == [
        ("⏎", pytest.approx(0.75)),
        ("a", pytest.approx(0.25)),
    ]


def test_the_chart_has_a_bar_for_each_candidate_and_running_sums() -> None:
    chart = chart_data(*candidates_of(0.5, 0.3, 0.2, keep=2))
    assert chart["labels"] == ["x", "x", "x"]
    assert chart["raw"] == pytest.approx([0.5, 0.3, 0.2])
    assert chart["raw_cumulative"] == pytest.approx([0.5, 0.8, 1.0])
    assert chart["final"] == pytest.approx([0.625, 0.375, 0])
    assert chart["final_cumulative"] == pytest.approx([0.625, 1.0, 1.0])
    assert (chart["cut"], chart["kept"]) == (2, 2)


def test_the_chart_shows_no_cut_that_lies_beyond_its_bars() -> None:
    assert chart_data(*candidates_of(0.5, 0.3, 0.2))["cut"] is None
    many = [1 / 60] * 60
    assert chart_data(*candidates_of(*many, keep=50))["cut"] is None
    assert chart_data(*candidates_of(*many, keep=39))["cut"] == 39


def test_the_chart_has_a_most_of_bars() -> None:
    chart = chart_data(*candidates_of(*[1 / 60] * 60))
    assert {len(chart[name]) for name in ("labels", "raw", "final", "raw_cumulative")} == {MAX_BARS}


def test_chart_labels_are_printable() -> None:
    labels = chart_data([candidate(b" a\n"), candidate(b"<s>", special=True)], 2)["labels"]
    assert labels == ["␣a⏎", "<s>"]
