"""Quirk profiles: what known clients of the interface get wrong, and what the hub does about it.

Found by running Debian's `swupdate` 2022.12 and rauc-hawkbit-updater 1.4, and in their sources.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How a client behaves.

    Attributes:
        name: For people and tables.
        skip_reports_success: Told not to install now, it reports success (`Skipped Update.`)
            although nothing was installed: so it never sees an update outside its windows, and
            that message counts for nothing.
        honours_attempt: It can leave an update to somebody at the device.
        confirms: It knows the confirmation flow; for others a person confirms at the hub.
        downloads_only: It can download without installing.
        streams: It installs while it downloads: a download is an installation.
        needs_offer_to_report: After its restart it reports only what is still offered.
    """

    name: str
    skip_reports_success: bool = False
    honours_attempt: bool = True
    confirms: bool = True
    downloads_only: bool = True
    streams: bool = False
    needs_offer_to_report: bool = False


GENERIC: Final = Profile(name="generic")
SWUPDATE: Final = Profile(
    name="swupdate",
    skip_reports_success=True,
    honours_attempt=False,
    confirms=False,
    downloads_only=False,
    streams=True,
    needs_offer_to_report=True,
)
RAUC: Final = Profile(name="rauc", honours_attempt=False, confirms=False)
PROFILES: Final[Mapping[str, Profile]] = {each.name: each for each in (GENERIC, SWUPDATE, RAUC)}
SKIPPED: Final = "skipped update"
"""How SWUpdate says that it installed nothing, in lower case."""
