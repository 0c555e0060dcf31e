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
