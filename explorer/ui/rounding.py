"""What rounding a model's weights changes, at the place where a session stands."""

from typing import Any

from explorer.backends.base import Backend, Models
from explorer.decoding import divergence
from explorer.session import Session, perplexity
from explorer.ui.messages import Refused
from explorer.ui.payload import texts_of
from explorer.views.table import finite

ROWS = 12


def rounding_data(session: Session, backend: Backend, models: Models) -> dict[str, Any]:
    """The rounded model beside the one it was made of, which is loaded if need be.

    Only raw probabilities: the rules act on both alike.
    """
    choice = next((one for one in models.choices() if one.name == session.now.model), None)
    if choice is None or choice.rounds is None:
        raise Refused("not_rounded")
    full = models.get(choice.rounds)
    prefix, text_of = session.prefix, texts_of(backend)
    found = divergence(full.next_distribution(prefix), backend.next_distribution(prefix))
    return {
        "model": choice.rounds,
        "total_variation": found.total_variation,
        "kl": finite(found.kl),
        "perplexity": [perplexity(full.score(prefix)), perplexity(backend.score(prefix))],
        "rows": [
            {
                "token_id": token_id,
                "text": text_of(token_id),
                "full": float(found.first[token_id]),
                "rounded": float(found.second[token_id]),
            }
            for token_id in found.most_probable(ROWS)
        ],
    }
