"""Which models may be asked for by name."""

from pathlib import Path

import pytest

from explorer.backends import LocalModels
from explorer.backends.base import LoadStatus, ModelUnavailable
from explorer.backends.catalogue import CATALOGUE, DEFAULT_MODEL
from tests.backends.loads import why


@pytest.mark.parametrize(
    "name",
    [
        "openai-community/gpt2",
        "/etc",
        ".",
        "~",
        "model.gguf",
        "",
        " ",
        "a\0b",
        "SMOLLM2",
        "x" * 999,
    ],
)
def test_a_public_app_knows_the_catalogue_only(public_models: LocalModels, name: str) -> None:
    for ask in (public_models.request, public_models.get):
        with pytest.raises(ModelUnavailable) as caught:
            ask(name)
        assert caught.value.code == "model_not_public"
        assert caught.value.facts["model"] == name
        assert DEFAULT_MODEL in str(caught.value.facts["allowed"])
    assert public_models.status(name) == LoadStatus("idle")


def test_a_public_app_refuses_a_folder_that_exists(
    public_models: LocalModels, saved_llama: Path
) -> None:
    assert why(public_models, str(saved_llama)).code == "model_not_public"


@pytest.mark.parametrize("public", [True, False])
def test_the_default_must_be_a_name_that_can_be_used(tmp_path: Path, public: bool) -> None:
    with pytest.raises(ModelUnavailable):
        LocalModels(tmp_path, "" if not public else "some/hub-id", public=public, budget_bytes=1)


@pytest.mark.parametrize("name", ["", "   ", "\n", "a\0b", "x" * 501])
def test_what_is_no_name_is_unknown_at_once(fresh: LocalModels, name: str) -> None:
    with pytest.raises(ModelUnavailable) as caught:
        fresh.request(name)
    assert caught.value.code == "model_unknown"
    assert fresh.status(name) == LoadStatus("idle")


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    "name",
    ["/no/such/folder", "./here", "../there", "~/nowhere", "no-such-file.gguf", "a/b/c", "/x.gguf"],
)
def test_a_path_that_leads_nowhere_is_unknown(fresh: LocalModels, name: str) -> None:
    error = why(fresh, name)
    assert error.code == "model_unknown"
    assert error.facts["model"] == name


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    "name", ["two words", "bad//id", "x" * 300, "~no-such-user-here/x", "日本"]
)
def test_what_can_be_neither_a_path_nor_a_hub_id_is_unknown(fresh: LocalModels, name: str) -> None:
    assert why(fresh, name).code == "model_unknown"


def test_choices_are_the_catalogue(fresh: LocalModels) -> None:
    choices = fresh.choices()
    assert [choice.name for choice in choices] == list(CATALOGUE)
    assert DEFAULT_MODEL in CATALOGUE
    for choice in choices:
        entry = CATALOGUE[choice.name]
        files = entry.rounded or entry
        assert choice.needs_hub == (files.hub_id is not None) == (not files.wheels)
        assert choice.licence and choice.licence_url.startswith("https://")
        if files.wheels:
            assert choice.download_bytes == sum(wheel.wheel_bytes for wheel in files.wheels)
