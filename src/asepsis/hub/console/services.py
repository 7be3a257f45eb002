"""What the pages of the console ask; put together in `hub/app/console.py`."""

from dataclasses import dataclass

from litestar.di import NamedDependency

from asepsis.hub.access.accounts import Accounts
from asepsis.hub.access.http import Credentials
from asepsis.hub.access.sessions import SessionService
from asepsis.hub.console.pages import Frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """One console's.

    Attributes:
        frame: What stands around every page.
        credentials: Recognises people.
        accounts: Sign-in and passwords.
        sessions: Sessions of browsers.
    """

    frame: Frame
    credentials: Credentials
    accounts: Accounts
    sessions: SessionService


Console = NamedDependency[Services]
"""How a handler takes them."""
