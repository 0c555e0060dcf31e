"""Looking ahead with the two real models: what transformers finds, in as few passes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from explorer.backends.local import LocalBackend
from explorer.session import BeamSearch, Cover, Prompt, Session, run
from tests.generating import generated
from tests.real.test_models import ODA, by_token, counted, fresh

pytestmark = pytest.mark.real

PROMPTS = {"english": "The capital of France is", "japanese": ODA}
SEARCHES = [(1, 6, 1.0), (3, 8, 1.0), (8, 6, 2.0), (4, 8, 0.0)]  # width, depth, length penalty


@pytest.fixture(params=["smollm2", "gemma3"])
def backend(request) -> LocalBackend:
    return fresh(request.getfixturevalue(request.param))


def searched(backend: LocalBackend, search):
    for state in run(search, backend):
        search = state
    return search


def last_row(backend: LocalBackend, prefix: tuple[int, ...]) -> np.ndarray:
    """Probabilities after the prefix by one plain forward pass without a cache."""
    with torch.inference_mode():
        logits = backend.model(torch.tensor([prefix]), use_cache=False, logits_to_keep=1).logits
        return logits[0, -1].double().softmax(-1).numpy()


def assert_as_generated(backend: LocalBackend, prefix: tuple[int, ...], *wanted) -> None:
    expected = generated(backend, prefix, *wanted)
    paths = searched(backend, BeamSearch(prefix, *wanted)).paths()
    assert [path.token_ids for path in paths] == [token_ids for token_ids, _ in expected]
    scores = [score for _, score in expected]
    if scores != [None]:
        assert [path.score for path in paths] == pytest.approx(scores, abs=1e-3)


@pytest.mark.parametrize("language", PROMPTS)
def test_beam_search_is_that_of_transformers(backend, language):
    prefix = backend.encode(PROMPTS[language])
    for wanted in SEARCHES:
        assert_as_generated(backend, prefix, *wanted)


def test_beams_that_end_are_those_of_transformers(smollm2):
    backend = fresh(smollm2)
    prefix = backend.encode("One, two, three. Paris, France. She said")
    ends = {backend.encode(text)[-1] for text in (" the", ",", ".", " that")}
    backend.info = replace(backend.info, end_token_ids=tuple(sorted(ends)))
    lengths = {len(ids) for ids, _ in generated(backend, prefix, 4, 8, 0.0)}
    assert min(lengths) < 8  # else this shows nothing
    for wanted in [(4, 8, 0.0), (3, 12, 1.0), (6, 8, 2.0)]:
        assert_as_generated(backend, prefix, *wanted)


def test_a_beam_search_reads_each_level_in_one_pass(backend):
    prefix = backend.encode(PROMPTS["english"])
    width, depth = 4, 5
    with counted(backend) as passes:
        first = searched(backend, BeamSearch(prefix, width, depth))
        assert passes == [len(prefix)] + [width] * (depth - 1)
        assert searched(backend, BeamSearch(prefix, width, depth)) == first
        assert len(passes) == depth  # again: none
    known = fresh(backend)
    known.next_distribution(prefix)
    with counted(known) as passes:
        searched(known, BeamSearch(prefix, width, depth))
        assert passes == [width] * (depth - 1)


def test_the_branches_are_those_of_full_passes(backend):
    prefix = backend.encode(PROMPTS["japanese"])
    search = searched(backend, BeamSearch(prefix, 3, 4))
    lines = [prefix + path.token_ids[:-1] for path in search.paths()]
    for line, distribution in zip(lines, backend.next_distributions(lines), strict=True):
        np.testing.assert_allclose(by_token(distribution), last_row(backend, line), atol=1e-5)


def test_branches_past_the_sliding_window(gemma3):
    backend = fresh(gemma3)
    window = backend.model.config.sliding_window
    prefix = backend.encode(ODA * 20)[: window + 40]
    lines = [(*prefix, 3000 + n, 4000 + n) for n in range(3)]
    backend.next_distribution(prefix)
    with counted(backend) as passes:
        found = backend.next_distributions(lines)
        assert passes == [6]
    for line, distribution in zip(lines, found, strict=True):
        np.testing.assert_allclose(by_token(distribution), last_row(backend, line), atol=1e-3)


def test_an_adopted_beam_is_scored_in_one_pass_and_its_nodes_are_visited_once(backend):
    session = Session.start("m", backend, Prompt(PROMPTS["english"]))
    session.trace(backend)
    best = searched(backend, BeamSearch(session.prefix, 4, 5)).paths()[0]
    with counted(backend) as passes:
        session = session.adopt(backend, session.prefix, best.token_ids)
        assert len(passes) == 1
        session.trace(backend)
        assert len(passes) == 1  # the end came with the score
        depths = range(1, len(best.token_ids))
        for depth in depths:
            session.rewind(depth).trace(backend)
        assert passes[1:] == [1] * len(depths)
        for node_id in range(len(best.token_ids) + 1):
            session.go_to(node_id).trace(backend)
        assert len(passes) == 1 + len(depths)  # all of them were visited
        session.step(backend).trace(backend)
        assert passes[-1] == 1 and len(passes) == 2 + len(depths)
    logprobs = [node.choice.logprob for node in session.now.tree.path]
    assert sum(logprobs) == pytest.approx(best.total, abs=1e-3)


def test_scoring_a_text_is_one_pass(backend):
    text = backend.encode(" ".join(PROMPTS.values()))
    with counted(backend) as passes:
        backend.score(text)
    assert passes == [len(text)]


def test_a_cover_holds_its_share(smollm2):
    backend = fresh(smollm2)
    prefix = backend.encode(PROMPTS["english"])
    search = searched(backend, Cover(prefix, 0.1, 2, 300))
    assert search.ending == "covered" and search.covered >= 0.1
    for path in search.paths():
        first, second = path.token_ids
        likely = last_row(backend, prefix)[first] * last_row(backend, (*prefix, first))[second]
        assert np.exp(path.total) == pytest.approx(likely, abs=1e-5)
