"""What a feature brings to the hub: routes, work in the background, and its moments."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from asepsis.hub.registry.http_people import StatusSource
from asepsis.hub.web.routing import Mount, Route, Router

Work = Callable[[], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One feature, opened and ready to be wired in.

    Attributes:
        clinical: Routes of the clinical listener.
        people: Routes of the people listener.
        mounts: Further applications of the people listener.
        ddi: All of the DDI listener, or None while it is off.
        restore: Awaited once before the listeners open, in the order of the features.
        work: Background work by name, run until cancelled; its failure ends the hub.
        revoked: Called with the name of an identity once it is revoked; returns at once.
        close: Awaited once after the listeners and the background work have ended.
        status: Sources of the status page.
    """

    clinical: Sequence[Route] = ()
    people: Sequence[Route] = ()
    mounts: Sequence[Mount] = ()
    ddi: Router | None = None
    restore: Callable[[], Awaitable[None]] | None = None
    work: Mapping[str, Work] = field(default_factory=dict[str, Work])
    revoked: Callable[[str], object] | None = None
    close: Callable[[], Awaitable[None]] | None = None
    status: Mapping[str, StatusSource] = field(default_factory=dict[str, StatusSource])
