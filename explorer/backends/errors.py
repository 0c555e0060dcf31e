"""What can go wrong in a backend; `backends.base` offers all of it."""

from typing import Literal

# The errors that a backend raises; a screen or an API turns each into a message.
#
# * BackendError
#   x ModelUnavailable   the model is unknown, can't be fetched, or can't be loaded
#   x ContextTooLong     more tokens than the model can read
#   x TextNotEncodable   the text holds something that no tokenizer can read
#   x NothingToPredict   an empty prefix, and the model has no BOS token to start from
#   x NoChatTemplate     chat was asked of a model that has no template for it
#   x ChatRefused        the model's template refuses this conversation
#   x TokenOutOfRange    a token id outside the vocabulary
#   x LogprobsUnavailable  the server does not give probabilities
#   x GrammarRefused     a regular expression or JSON schema that can't be used
#   x TooBusy            as many as may wait for the model do already
#   x RemoteFailed       the model server failed, refuses, or can't be reached


class BackendError(Exception):
    """Base of all errors of a backend.

    `code` names the kind of error and `facts` hold the values, so that a screen can say it
    in any language; `str(error)` says it in English.
    """

    code: str = "backend_error"

    def __init__(self, message: str, **facts: object) -> None:
        super().__init__(message)
        self.facts = facts


Reason = Literal[
    "unknown",
    "not_public",
    "gated",
    "no_network",
    "no_space",
    "not_writable",
    "no_memory",
    "over_budget",
    "damaged",
    "not_loadable",
]


class ModelUnavailable(BackendError):
    """The model is unknown, can't be fetched, or can't be loaded."""

    def __init__(self, reason: Reason, message: str, **facts: object) -> None:
        super().__init__(message, **facts)
        self.code = f"model_{reason}"


class ContextTooLong(BackendError):
    """The prefix has more tokens than the model's context."""

    code = "context_too_long"

    def __init__(self, length: int, limit: int) -> None:
        super().__init__(
            f"the prefix has {length} tokens; the model's context holds {limit}",
            length=length,
            limit=limit,
        )


class TextNotEncodable(BackendError):
    """The text holds a lone surrogate, which is no character and has no UTF-8 form."""

    code = "text_not_encodable"


class NothingToPredict(BackendError):
    """The prefix is empty and the model has no BOS token to start from."""

    code = "nothing_to_predict"


class NoChatTemplate(BackendError):
    """The model has no chat template."""

    code = "no_chat_template"


class ChatRefused(BackendError):
    """The model's chat template refuses this conversation (roles out of order, say)."""

    code = "chat_refused"


class TokenOutOfRange(BackendError):
    """A token id outside the model's vocabulary."""

    code = "token_out_of_range"


class LogprobsUnavailable(BackendError):
    """The server gives no probabilities."""

    code = "logprobs_unavailable"


class GrammarRefused(BackendError):
    """A constraint's regular expression or JSON schema is wrong, unsupported or too complex."""

    code = "grammar_refused"

    def __init__(self, kind: Literal["regex", "json_schema"], detail: str) -> None:
        name = {"regex": "regular expression", "json_schema": "JSON schema"}[kind]
        super().__init__(f"the {name} can't be used: {detail}", kind=kind, detail=detail)


RemoteReason = Literal[
    "unreachable",
    "timed_out",
    "cut_off",
    "refused_key",
    "no_such_model",
    "busy",
    "server_error",
    "rejected",
    "not_understood",
    "wrong_engine",
    "no_tokenizer",
    "other_tokenizer",
    "chat_only",
]


class TooBusy(BackendError):
    """As many as may wait for the model do already; nothing was begun."""

    code = "too_busy"

    def __init__(self, waiting: int, limit: int) -> None:
        super().__init__(
            f"too many requests at once: {waiting} wait for the model, and {limit} may; "
            "nothing was changed, try again in a moment",
            waiting=waiting,
            limit=limit,
        )


class RemoteFailed(BackendError):
    """The model server failed, refuses, or can't be reached.

    Never holds the server's key or address: what is said here ends up on a page.
    """

    def __init__(self, reason: RemoteReason, message: str, **facts: object) -> None:
        super().__init__(message, **facts)
        self.code = f"remote_{reason}"
