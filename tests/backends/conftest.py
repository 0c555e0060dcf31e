from tests.backends.wheels import (  # noqa: F401  fixtures
    conversions,
    entry,
    models_dir,
    no_pip,
    one_wheel,
    reports,
    wheels_dir,
)
