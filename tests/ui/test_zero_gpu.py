import sys
from types import SimpleNamespace

from explorer.ui.zero_gpu import on_gpu


def test_without_the_spaces_package_a_function_stays_itself(monkeypatch):
    monkeypatch.setitem(sys.modules, "spaces", None)  # makes the import fail

    def work() -> int:
        return 1

    assert on_gpu(work) is work


def test_with_the_spaces_package_its_decorator_is_used(monkeypatch):
    fake = SimpleNamespace(GPU=lambda function: lambda *args: ("on a GPU", function(*args)))
    monkeypatch.setitem(sys.modules, "spaces", fake)
    assert on_gpu(lambda x: x + 1)(2) == ("on a GPU", 3)
