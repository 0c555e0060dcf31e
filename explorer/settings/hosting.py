"""How the app stands towards the clients that reach it."""

import argparse
import os
from dataclasses import dataclass, field

from explorer.settings.limits import PUBLIC, Limits

# Whose pages may show this one in a frame.
OWN = ("'self'",)
OF_A_SPACE = ("'self'", "https://huggingface.co", "https://*.hf.space")


@dataclass(frozen=True, slots=True)
class Hosting:
    """What whoever starts the app decides about those who use it."""

    limits: Limits = field(default_factory=Limits)
    password: str | None = field(default=None, repr=False)
    hosts: tuple[str, ...] = ()  # names that the app answers to; none: to all
    proxies: int = 0  # in front, each of which adds to X-Forwarded-For the address that it saw
    frame_ancestors: tuple[str, ...] = OWN
    log_prompts: bool = False
    session_hours: float = 6  # that a session is kept after it was last used
    metrics: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.proxies <= 10:
            raise ValueError(f"--proxies must be a whole number from 0 to 10, got {self.proxies}")
        if not self.session_hours > 0:
            raise ValueError(f"--session-hours must be above 0, got {self.session_hours}")
        for host in self.hosts:
            if "*" in host.removeprefix("*.") or "/" in host or ":" in host:
                raise ValueError(
                    f"--hosts must be names such as example.org or *.example.org, got {host!r}"
                )


def hosting_of(chosen: argparse.Namespace) -> Hosting:
    """From the settings; `ValueError` names what can't be."""
    in_a_space = bool(os.environ.get("SPACE_ID"))
    hosts = tuple(host.strip().lower() for host in (chosen.hosts or "").split(",") if host.strip())
    return Hosting(
        limits=(PUBLIC if chosen.public else Limits()).with_changes(chosen.limits or ""),
        password=chosen.password,
        hosts=hosts,
        proxies=(1 if in_a_space else 0) if chosen.proxies is None else chosen.proxies,
        frame_ancestors=OF_A_SPACE if in_a_space else OWN,
        log_prompts=chosen.log_prompts,
        session_hours=chosen.session_hours,
        metrics=_metrics_wanted(chosen),
    )


def _metrics_wanted(chosen: argparse.Namespace) -> bool:
    """Off by itself where strangers can reach the app, or must not without a password."""
    if chosen.metrics not in (None, "on", "off"):
        raise ValueError(f"--metrics must be on or off, got {chosen.metrics!r}")
    if chosen.metrics is None:
        return not chosen.public and chosen.password is None
    return bool(chosen.metrics == "on")
