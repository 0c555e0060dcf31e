import itertools

import pytest

from explorer.backends import recorded
from tests.backends.loads import (  # noqa: F401  fixtures
    fresh,
    offline,
    opened,
    public_models,
    saved_llama,
)
from tests.backends.wheels import (  # noqa: F401  fixtures
    conversions,
    entry,
    models_dir,
    no_pip,
    one_wheel,
    reports,
    wheels_dir,
)


@pytest.fixture(autouse=True)
def no_recordings_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process makes only so many."""
    monkeypatch.setattr(recorded, "_recordings", itertools.count(1))
