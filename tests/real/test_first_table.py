"""A first table of SmolLM2: what the model says, and a session that goes on with the model."""

import numpy as np
import pytest

from explorer.backends.first_tables import FirstTables
from explorer.backends.local import LocalBackend
from explorer.backends.prefix_memory import PrefixMemory
from explorer.decoding import PRESETS
from explorer.session import Session
from explorer.ui.opening import opening_prompt
from tests.conftest import SMOLLM2

pytestmark = pytest.mark.real


def test_a_kept_table_is_the_model_s_own_and_the_session_goes_on(tmp_path, models_dir, smollm2):
    prompt = opening_prompt(SMOLLM2)
    weights = models_dir / SMOLLM2
    FirstTables(tmp_path).keep(SMOLLM2, weights, smollm2, prompt.text, prompt.chat)
    table = FirstTables(tmp_path).get(SMOLLM2, weights)
    assert table is not None and table.info == smollm2.info

    # One that remembers nothing computes it again.
    model = LocalBackend(smollm2.model, smollm2.tokenizer, smollm2.info, PrefixMemory(2**28))
    prefix = prompt.encode(model)
    assert prompt.encode(table) == prefix
    ours, theirs = (one.next_distribution(prefix) for one in (table, model))
    logits = np.empty((2, model.info.vocab_size))
    for row, distribution in zip(logits, (ours, theirs), strict=True):
        row[distribution.token_ids] = distribution.logits
    np.testing.assert_allclose(*logits, atol=1e-4)
    assert ours.token_ids[:50].tolist() == theirs.token_ids[:50].tolist()
    for kept, scored in zip(table.score(prefix), model.score(prefix), strict=True):
        assert (kept.token_id, kept.rank) == (scored.token_id, scored.rank)
        assert kept.logprob == pytest.approx(scored.logprob, abs=1e-4)
    some = range(0, model.info.vocab_size, 97)
    assert [table.token(i) for i in some] == [model.token(i) for i in some]

    begun = Session.start(SMOLLM2, table, prompt, PRESETS["llama3"])
    went_on = begun.step(model).step(model)
    assert (
        went_on.now
        == Session.start(SMOLLM2, model, prompt, PRESETS["llama3"]).step(model).step(model).now
    )
    assert model.token(went_on.prefix[len(prefix)]).raw == b" Paris"
    assert went_on.undo().undo().now == begun.now
