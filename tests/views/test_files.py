"""Files to take home: CSV that a spreadsheet reads, JSON that any parser reads."""

import dataclasses
import io
import json
import math
from typing import Any

import pandas as pd
import pytest

from explorer.backends import ScriptedBackend
from explorer.decoding import MirostatV2, RankedToken, Temperature, TopK, Xtc, chain_from_json
from explorer.session import Candidate, PathToken, Prompt, Session, read, state_of
from explorer.views import path_csv, session_file, table_csv, token_table

COLUMNS = ["rank", "token_id", "text", "bytes_hex", "special", "logit"]
COLUMNS += ["raw_probability", "probability", "cut_by"]


def candidate(raw: bytes, *, special: bool = False, number: float = 1 / 3) -> Candidate:
    return Candidate(RankedToken(1, 7, -number, number, number / 7, None), raw, special)


def parsed(csv: str) -> pd.DataFrame:
    return pd.read_csv(
        io.BytesIO(csv.encode()),
        encoding="utf-8-sig",
        keep_default_na=False,
        na_values={"logit": [""], "cut_by": [""]},
        dtype={"text": str, "bytes_hex": str},
    )


def strict(data: Any) -> Any:
    return json.loads(json.dumps(data, allow_nan=False))


@pytest.fixture
def backend() -> ScriptedBackend:
    return ScriptedBackend(
        [b"a", "日".encode(), b"\xe3\x81", b"</s>", b"\n"],
        {(0,): [0.3, 0.4, 0.2, 0.1, 0.0]},
        special=[3],
        model_id="test/model",
    )


@pytest.fixture
def session(backend: ScriptedBackend) -> Session:
    return Session.start("m", backend, Prompt("a"), (Temperature(0.5), TopK(3)), 42)


def test_the_csv_parses_back_to_the_same_numbers(
    session: Session, backend: ScriptedBackend
) -> None:
    candidates = read(session, backend, 5).candidates
    table = parsed(table_csv(candidates))
    assert list(table.columns) == COLUMNS
    assert len(table) == 5
    for row, entry in zip(table.to_dict("records"), candidates, strict=True):
        assert row["rank"] == entry.ranked.rank
        assert row["token_id"] == entry.ranked.token_id
        assert bytes.fromhex(row["bytes_hex"]) == entry.raw
        assert row["special"] == entry.special
        assert row["raw_probability"] == entry.ranked.raw_probability
        assert row["probability"] == entry.ranked.probability
        if math.isfinite(entry.ranked.logit):
            assert row["logit"] == entry.ranked.logit
        else:
            assert math.isnan(row["logit"])
    assert table["text"].tolist() == ["日", "a", "⟨E3 81⟩", "</s>", "⏎"]
    assert table["cut_by"].fillna("").tolist() == ["", "", "", "top_k", "top_k"]


def test_the_csv_begins_with_a_byte_order_mark(session: Session, backend: ScriptedBackend) -> None:
    csv = table_csv(read(session, backend, 5).candidates)
    assert csv.encode().startswith(b"\xef\xbb\xbfrank,")
    assert csv.count("\ufeff") == 1
    assert csv.count("\r\n") == 6


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", "=cmd|' /C calc'!A0", "-", "＝1", "＋1", "－1", "＠A1"]
)
def test_what_a_spreadsheet_would_run_is_guarded(text: str) -> None:
    table = parsed(table_csv((candidate(text.encode()), candidate(b"safe"))))
    assert table["text"][0].startswith("'" + text[0])
    assert table["text"][1] == "safe"
    assert bytes.fromhex(table["bytes_hex"][0]).decode() == text


@pytest.mark.parametrize("raw", [b"\t=1", b"\r=1", b"\n=1", b" =1"])
def test_no_blank_hides_a_formula(raw: bytes) -> None:
    assert parsed(table_csv((candidate(raw),)))["text"][0][0] in "⇥␍⏎␣"


def test_a_special_token_that_looks_like_a_formula_is_guarded() -> None:
    table = parsed(table_csv((candidate(b"=A1", special=True),)))
    assert table["text"].tolist() == ["'=A1"]


@pytest.mark.parametrize(
    "raw", [b'"', b",", b'a"b,c', b"\r\n", b"NaN", b"nan", b"", b"None", b"1e5", b"007"]
)
def test_text_that_could_break_the_csv_comes_back(raw: bytes) -> None:
    table = parsed(table_csv((candidate(raw), candidate(b"x"))))
    assert len(table) == 2
    assert table["text"][0] == raw.decode().replace("\r", "␍").replace("\n", "⏎")


def test_a_csv_without_rows_has_its_header() -> None:
    assert table_csv(()) == "\ufeff" + ",".join(COLUMNS) + "\r\n"


@pytest.mark.parametrize("number", [1e-300, 5e-324, 0.1, 1 / 3, 1.0])
def test_no_digit_is_lost(number: float) -> None:
    table = parsed(table_csv((candidate(b"a", number=number),)))
    assert table["raw_probability"][0] == number


def test_the_table_as_a_data_frame() -> None:
    table = token_table((candidate(b" a"), candidate(b"b")))
    assert list(table.columns) == COLUMNS
    assert table["text"].tolist() == ["␣a", "b"]
    assert list(token_table(()).columns) == COLUMNS


def test_the_session_as_json(session: Session, backend: ScriptedBackend) -> None:
    session = session.pick(backend, 1).rewind(0).sample(backend)
    shown = strict(session_file(state_of(session, backend), read(session, backend, 5)))
    assert shown["format"] == "next-token-explorer/1"
    assert shown["model"]["model_id"] == "test/model"
    assert shown["model"]["vocab_size"] == 5
    assert shown["prompt"] == {"text": "a", "chat": False, "token_ids": [0]}
    assert shown["seed"] == 42
    assert chain_from_json(shown["chain"]) == session.chain
    assert shown["tree"]["cursor"] == session.now.tree.cursor
    assert [node["token_id"] for node in shown["tree"]["nodes"]] == [
        node.token_id for node in session.now.tree.nodes
    ]
    assert len(shown["path"]) == len(session.prefix)
    assert shown["path"][0]["logprob"] is None
    assert shown["path"][1]["how"] == "sampled"
    assert shown["path"][1]["u"] == session.now.tree.path[-1].u
    assert len(shown["table"]) == 5


def test_each_node_names_the_chains_it_was_chosen_under(backend: ScriptedBackend) -> None:
    chain = (Xtc(0.1, 0.5), MirostatV2(1, 0.1))
    session = Session.start("m", backend, Prompt("a"), chain, 7)
    session = session.sample(backend).pick(backend, 1).sample(backend)
    session = session.rewind(1).step(backend)
    shown = strict(session_file(state_of(session, backend), read(session, backend, 5)))
    chains = [chain_from_json(data) for data in shown["chains"]]
    assert len(set(chains)) == len(chains)
    for told, node in zip(shown["tree"]["nodes"], session.now.tree.nodes, strict=True):
        assert node.choice is not None
        assert chains[told["chain"]] == node.choice.chain
        assert chains[told["chain_after"]] == node.choice.after
    used = {told[name] for told in shown["tree"]["nodes"] for name in ("chain", "chain_after")}
    assert used == set(range(len(chains)))


def test_a_node_without_a_choice_names_no_chain(session: Session, backend: ScriptedBackend) -> None:
    moment = dataclasses.replace(session.now, tree=session.now.tree.grown(1, "typed"))
    typed = dataclasses.replace(session, now=moment)
    shown = strict(session_file(state_of(typed, backend), read(typed, backend, 5)))
    assert shown["chains"] == []
    assert [(node["chain"], node["chain_after"]) for node in shown["tree"]["nodes"]] == [
        (None, None)
    ]


def test_the_entropy_in_the_file_is_in_bits(backend: ScriptedBackend) -> None:
    session = Session.start("m", backend, Prompt("aa")).pick(backend, 0)
    path = session_file(state_of(session, backend), read(session, backend, 5))["path"]
    expected = -sum(p * math.log2(p) for p in (0.3, 0.4, 0.2, 0.1))
    assert path[1]["entropy_bits"] == pytest.approx(expected)
    assert path[2]["entropy_bits"] == pytest.approx(math.log2(5))


def test_an_impossible_token_leaves_valid_json(session: Session, backend: ScriptedBackend) -> None:
    shown = strict(
        session_file(
            state_of(session.pick(backend, 4), backend), read(session.pick(backend, 4), backend, 5)
        )
    )
    assert shown["path"][1]["logprob"] is None
    assert shown["path"][1]["rank"] == 5


def test_the_text_in_the_file_leaves_special_tokens_out(
    session: Session, backend: ScriptedBackend
) -> None:
    grown = session.pick(backend, 1).pick(backend, 3).pick(backend, 4).pick(backend, 2)
    assert session_file(state_of(grown, backend), read(grown, backend, 5))["text"] == "a日\n⟨E3 81⟩"


def test_the_path_as_csv_reads_back_with_unknowns_empty(backend: ScriptedBackend) -> None:
    session = Session.start("m", backend, Prompt("a")).sample(backend)
    path = read(session, backend, 5).path
    text = path_csv(path)
    assert text.startswith("\ufeffposition,token_id,text,")
    table = pd.read_csv(io.StringIO(text.removeprefix("\ufeff")))
    assert table["token_id"].tolist() == list(session.prefix)
    assert math.isnan(table["logprob"][0]) and math.isnan(table["rank"][0])
    last = path[-1]
    assert last.rank and table["rank"][len(path) - 1] == last.rank
    assert table["surprisal_bits"][len(path) - 1] == pytest.approx(last.surprisal)
    assert table["how"].tolist() == ["prompt"] * (len(path) - 1) + ["sampled"]


def test_a_formula_in_the_path_is_not_run_by_a_spreadsheet(backend: ScriptedBackend) -> None:
    token = PathToken(0, 1, b"=1+1", False, None, None, None, "prompt")
    assert ",'=1+1," in path_csv([token])
