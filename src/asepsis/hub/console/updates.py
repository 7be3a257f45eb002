"""What the pages about software for devices ask; put together in `hub/app/console.py`."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from asepsis.hub.audit.rules import SignedHead
from asepsis.hub.fleet.campaigns.planning import Planning
from asepsis.hub.fleet.campaigns.service import CampaignService
from asepsis.hub.fleet.campaigns.work import DeviceWork
from asepsis.hub.fleet.releases.service import ReleaseService


@dataclass(frozen=True, slots=True, kw_only=True)
class Updates:
    """Software for devices, as pages need it.

    Attributes:
        releases: What vendors published and both parties approved.
        campaigns: What people decide about campaigns.
        work: What people decide about single devices of a campaign.
        planning: Answers.
        sign_head: Has the audit log's present state signed.
        audit_der: Returns the certificate of the audit key.
    """

    releases: ReleaseService
    campaigns: CampaignService
    work: DeviceWork
    planning: Planning
    sign_head: Callable[[], Awaitable[SignedHead]]
    audit_der: Callable[[], Awaitable[bytes]]
