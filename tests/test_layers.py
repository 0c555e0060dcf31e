"""Who may import what, how long a file may be, and what a package offers."""

import ast
import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "explorer"
MODULES = sorted(PACKAGE.rglob("*.py"))
PACKAGES = sorted(path.parent for path in PACKAGE.rglob("__init__.py") if path.parent != PACKAGE)
MAX_LINES = 400

# A layer may import itself, and these.
FROM_EXPLORER = {
    "decoding": [],
    "backends": ["explorer.decoding"],
    "session": ["explorer.decoding", "explorer.backends.base"],
    "views": ["explorer.decoding", "explorer.session"],
    "settings": ["explorer.backends"],
    "ui": [
        "explorer.session",
        "explorer.views",
        "explorer.decoding",
        "explorer.backends.base",
        "explorer.settings",
    ],
    "serving": ["explorer.__version__", "explorer.ui"],
}
THIRD_PARTY = {
    "decoding": {"numpy"},
    "backends": {
        "cachetools",
        "filelock",
        "gguf",
        "huggingface_hub",
        "jinja2",
        "llguidance",
        "numpy",
        "openai",
        "psutil",
        "safetensors",
        "tiktoken",
        "tokenizers",
        "torch",
        "transformers",
    },
    "session": set(),
    "views": {"pandas"},
    "settings": set(),
    "serving": {"prometheus_client", "starlette"},
    "ui": {
        "gradio",
        "orjson",
        "spaces",
        "starlette",
    },  # whose middleware stands before all of Gradio's routes
}


def imported(source: str) -> Iterator[str]:
    """The modules that any import names, inside functions too; `from a import b` is `a.b`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def forbidden(layer: str, source: str) -> list[str]:
    allowed = [f"explorer.{layer}", *FROM_EXPLORER[layer]]
    found = []
    for module in imported(source):
        top = module.split(".")[0]
        if top == "explorer":
            if not any(within(module, package) for package in allowed):
                found.append(module)
        elif top not in sys.stdlib_module_names and top not in THIRD_PARTY[layer]:
            found.append(module)
    return found


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def test_every_layer_is_in_the_table() -> None:
    layers = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert layers == FROM_EXPLORER.keys() == THIRD_PARTY.keys()
    assert [path.name for path in PACKAGE.glob("*.py")] == ["__init__.py"]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_only_what_its_layer_may(path: Path) -> None:
    parts = path.relative_to(PACKAGE).parts
    if parts == ("__init__.py",):
        assert list(imported(path.read_text())) == []
    else:
        assert forbidden(parts[0], path.read_text()) == []


@pytest.mark.parametrize(
    ("layer", "source", "expected"),
    [
        ("decoding", "import torch", ["torch"]),
        ("decoding", "def f():\n    from torch import nn", ["torch.nn"]),
        ("decoding", "from explorer.backends import base", ["explorer.backends.base"]),
        ("decoding", "import explorer.session.tree", ["explorer.session.tree"]),
        ("session", "import numpy as np", ["numpy"]),
        ("session", "from explorer.backends import LocalModels", ["explorer.backends.LocalModels"]),
        ("session", "from explorer.backends.base import Backend", []),
        ("session", "from explorer.backends import base", []),
        ("views", "if True:\n    import gradio.themes", ["gradio.themes"]),
        ("views", "from explorer.backends.base import Backend", ["explorer.backends.base.Backend"]),
        ("ui", "try:\n    import spaces, pandas\nexcept ImportError: ...", ["pandas"]),
        ("backends", "from explorer import session", ["explorer.session"]),
        ("backends", "import json, numpy, torch.nn", []),
    ],
)
def test_a_forbidden_import_is_found(layer: str, source: str, expected: list[str]) -> None:
    assert forbidden(layer, source) == expected


def test_only_the_app_puts_backends_and_page_together() -> None:
    tops = {
        module.split(".")[1]
        for module in imported((ROOT / "app.py").read_text())
        if module.startswith("explorer.")
    }
    assert tops == {"backends", "serving", "settings", "ui"}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_file_grows_too_long(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_LINES


def natural(name: str) -> tuple[int, list[tuple[int, int, str]]]:
    """isort's order: CONSTANTS, then Classes, then functions; numbers by their value."""
    kind = 0 if name.isupper() else 1 if name[:1].isupper() else 2
    parts = re.findall(r"\d+|\D+", name)
    return kind, [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]


@pytest.mark.parametrize("folder", PACKAGES, ids=lambda folder: folder.name)
def test_a_package_offers_in_order_all_that_it_imports(folder: Path) -> None:
    offered = importlib.import_module(f"explorer.{folder.name}").__all__
    assert offered == sorted(offered, key=natural)
    source = (folder / "__init__.py").read_text()
    names = {module.rsplit(".", 1)[1] for module in imported(source)}
    assert set(offered) == names
    assert len(set(offered)) == len(offered)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))
