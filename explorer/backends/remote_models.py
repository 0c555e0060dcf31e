"""The models of a server, offered beside those of this machine or instead of them."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, get_args
from urllib.parse import urlsplit

from explorer.backends.base import Backend, LoadStatus, ModelChoice, Models, ModelUnavailable, Usage
from explorer.backends.on_demand import OnDemand, Report
from explorer.backends.why_not import why_not

if TYPE_CHECKING:
    from explorer.backends.prefix_memory import PrefixMemory
    from explorer.backends.remote import Dialect

EngineName = Literal["vllm", "llama-server", "openai"]
TITLES = {"vllm": "vLLM", "llama-server": "llama-server", "openai": "OpenAI API"}


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """All that whoever starts the app says of a model server; `ValueError` for what can't be."""

    url: str = field(repr=False)
    engine: str
    models: str | None = (
        None  # names, with commas between; the first one of the server if not given
    )
    key: str | None = field(default=None, repr=False)
    tokenizer: str | None = None
    logprobs: int | None = (
        None  # at most, after each prefix; all that the server gives if not given
    )
    timeout_s: float = 120.0

    def __post_init__(self) -> None:
        address = urlsplit(self.url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise ValueError("--server must begin with http:// or https:// and name a host")
        if self.engine not in get_args(EngineName):
            allowed = ", ".join(get_args(EngineName))
            raise ValueError(f"--engine must be one of {allowed}, got {self.engine!r}")
        if self.engine == "openai" and not self.models:
            raise ValueError("--engine openai needs --server-model")
        if self.logprobs is not None and self.logprobs < 1:
            raise ValueError(f"--server-logprobs must be 1 or more, got {self.logprobs}")
        if not self.timeout_s > 0:
            raise ValueError(f"--server-timeout must be above 0, got {self.timeout_s}")

    @property
    def names(self) -> dict[str, str | None]:
        """The names that users pick, and what the server calls them."""
        served = [name.strip() for name in (self.models or "").split(",") if name.strip()]
        return {f"{self.engine}:{name}": name for name in served} or {self.engine: None}


class RemoteModels:
    """A server's models, and `others`, those of this machine, if there are any."""

    def __init__(
        self,
        settings: ServerSettings,
        others: Models | None,
        *,
        default: str | None = None,
        budget_bytes: int,
    ) -> None:
        self.public = others is None or others.public
        self._settings = settings
        self._names = settings.names
        self._others = others
        self._budget_bytes = budget_bytes
        self._memory: PrefixMemory | None = None
        self._opening = OnDemand(self._open, why_not)
        self.default = default or next(iter(self._names))
        if self.default not in self._names and others is None:
            raise self._not_offered(self.default)

    def choices(self) -> tuple[ModelChoice, ...]:
        title = TITLES[self._settings.engine]
        own = [
            ModelChoice(
                name=name,
                title=f"{served} · {title}" if served else title,
                parameters="",
                languages=(),
                licence="",
                licence_url="",
                needs_hub=False,
            )
            for name, served in self._names.items()
        ]
        return (*own, *(self._others.choices() if self._others else ()))

    def status(self, name: str) -> LoadStatus:
        if name not in self._names and self._others is not None:
            return self._others.status(name)
        return self._opening.status(name)

    def usage(self) -> Usage:
        """Of a server's models, whose memory is over there, what is remembered of them here."""
        here = tuple(name for name in self._names if self._opening.status(name).phase == "ready")
        others = self._others.usage() if self._others else Usage(())
        remembered = self._memory.used_bytes if self._memory else 0
        return replace(
            others,
            models=(*here, *others.models),
            remembered_bytes=others.remembered_bytes + remembered,
        )

    def request(self, name: str) -> LoadStatus:
        if name in self._names:
            return self._opening.request(name)
        if self._others is None:
            raise self._not_offered(name)
        return self._others.request(name)

    def early(self, name: str) -> Backend | None:
        if name in self._names or self._others is None:
            return None
        return self._others.early(name)

    def keep_first_table(self, name: str, text: str, chat: bool) -> None:
        if name not in self._names and self._others is not None:
            self._others.keep_first_table(name, text, chat)

    def page_answers(self) -> None:
        if self._others is not None:
            self._others.page_answers()

    def get(self, name: str) -> Backend:
        if name in self._names:
            return self._opening.get(name)
        if self._others is None:
            raise self._not_offered(name)
        return self._others.get(name)

    def _not_offered(self, name: str) -> ModelUnavailable:
        allowed = ", ".join(self._names)
        return ModelUnavailable(
            "not_public",
            f"model must be one of {allowed}, got {name!r}",
            model=name,
            allowed=allowed,
        )

    def _open(self, name: str, report: Report) -> Backend:
        # Imported here: they bring transformers, which takes seconds that the page need not wait.
        from explorer.backends.prefix_memory import PrefixMemory
        from explorer.backends.remote import RemoteBackend

        report("loading")
        if self._memory is None:
            self._memory = PrefixMemory(self._budget_bytes)
        return RemoteBackend(self._dialect(name), self._memory)

    def _dialect(self, name: str) -> "Dialect":
        from explorer.backends.remote_server import Server, ServerAccess

        settings, served = self._settings, self._names[name]
        server = Server(ServerAccess(settings.url, settings.key, settings.timeout_s))
        if settings.engine == "vllm":
            from explorer.backends.remote_vllm import open_vllm

            return open_vllm(server, name, served, settings.tokenizer, settings.logprobs)
        if settings.engine == "llama-server":
            from explorer.backends.remote_llama import open_llama

            return open_llama(server, name, served, settings.logprobs)
        from explorer.backends.remote_openai import open_openai

        assert served is not None  # the settings saw to it
        return open_openai(server, name, served, settings.tokenizer, settings.logprobs)
