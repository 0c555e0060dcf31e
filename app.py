"""Next-Token Explorer: `python app.py`, then open http://127.0.0.1:7860."""

import gc

gc.disable()  # imports make a million objects that stay; looking for garbage among them takes long

import sys  # noqa: E402
import threading  # noqa: E402
from contextlib import suppress  # noqa: E402

from explorer.backends import BackendError  # noqa: E402
from explorer.backends.machine import use_few_heaps  # noqa: E402
from explorer.settings import hosting_of, models_of, read_settings  # noqa: E402

use_few_heaps()
chosen = read_settings(sys.argv[1:] if __name__ == "__main__" else [])
try:
    hosting = hosting_of(chosen)
    models = models_of(chosen)
    models.request(models.default)  # fetched while Gradio, below, is imported; loaded after that
except (BackendError, ValueError) as error:
    sys.exit(f"app.py: {error}")

from explorer.serving import Metrics, add_pages  # noqa: E402
from explorer.ui import build_ui  # noqa: E402

metrics = Metrics() if hosting.metrics else None
demo = build_ui(models, hosting, metrics)
add_pages(demo, metrics)


def collect_garbage_again() -> None:
    """Once the model is there, but never again among what was made until then."""
    with suppress(BackendError):  # the page says why it is not
        models.get(models.default)
    gc.freeze()
    gc.enable()


threading.Thread(target=collect_garbage_again, daemon=True).start()

if __name__ == "__main__":
    demo.launch(
        server_name=chosen.host,
        server_port=chosen.port,
        share=chosen.share,
    )
