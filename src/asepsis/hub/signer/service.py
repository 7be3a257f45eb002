"""The signer itself: typed request in, typed answer out, the log in between.

Every answer that gives something away stands in the log, synced, before it leaves. Every refusal
stands there too and, where a person should see it, raises an alarm that the hub can read.
"""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias, cast

from asepsis.core import errors
from asepsis.core.trust import answers, signer_values
from asepsis.core.trust import requests as typed
from asepsis.core.trust.authority import verify_issued_by
from asepsis.core.trust.identity import load_certificate
from asepsis.hub.signer import certificates, directing, entries, names, reports, statements
from asepsis.hub.signer.desk import Desk
from asepsis.hub.signer.issuing import Case

_Table: TypeAlias = Mapping[
    type[signer_values.Message], Callable[[Desk, signer_values.Message, Case], answers.Answer]
]
_SHARED: Final = {
    typed.RevokeRequest: names.revoke,
    typed.AuthoritiesRequest: reports.authorities,
    typed.StatusRequest: reports.status,
    typed.AlarmsRequest: reports.alarms,
}
HUB_REQUESTS: Final = cast(
    "_Table",
    {
        **_SHARED,
        typed.IssueRequest: certificates.issue,
        typed.ServerCertificateRequest: certificates.issue_server,
        typed.TimeRequest: statements.sign_time,
        typed.TreeHeadRequest: statements.sign_tree_head,
        typed.DirectorRequest: directing.sign_director,
        typed.CrlRequest: statements.sign_list,
    },
)
"""What the hub's socket takes: nothing here can make a name expected."""
ADMIN_REQUESTS: Final = cast(
    "_Table",
    {
        **_SHARED,
        typed.ExpectRequest: names.expect,
        typed.WithdrawRequest: names.withdraw,
        typed.ListRequest: names.list_open,
        typed.ReleaseRequest: names.release,
        typed.TrustMakerRequest: names.trust_maker,
        typed.DistrustMakerRequest: names.distrust_maker,
        typed.LimitsRequest: names.set_limits,
        typed.ForgetTreeHeadRequest: names.forget_head,
    },
)
"""What the operator's socket takes: it issues nothing."""


class Signer:
    """Decides, logs, signs. One thread; the socket server calls it for one request at a time.

    Args:
        desk: Keys, state, log and clock.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def install(self, entry: entries.Installed | entries.Reissued) -> None:
        """Begin, or take a renewed issuing certificate for the same key and root.

        Raises:
            ConfigError: Begun already, not begun yet, or a certificate for another key or root.
        """
        desk = self._desk
        if bool(desk.state.root_der) != isinstance(entry, entries.Reissued):
            raise errors.ConfigError("root, hub name and host names are fixed at init")
        root_der = desk.state.root_der or cast("entries.Installed", entry).root_der
        desk.check_issuing_key(entry.issuing_der)
        try:
            verify_issued_by(load_certificate(entry.issuing_der), issuer=load_certificate(root_der))
        except errors.IdentityInvalid as error:
            raise errors.ConfigError("the issuing certificate is not of this root") from error
        desk.append(entry)

    def hub_request(self, request: typed.HubRequest) -> answers.Answer:
        """Answer a request of the hub's socket; a refusal is an answer."""
        return self._answer(request, HUB_REQUESTS)

    def admin_request(self, request: typed.AdminRequest) -> answers.Answer:
        """Answer a request of the operator's socket; a refusal is an answer."""
        return self._answer(request, ADMIN_REQUESTS)

    def refuse(
        self, error: errors.AsepsisError, *, request: str, name: str = ""
    ) -> answers.Refused:
        """Log a refusal, raise its alarm and return the answer."""
        desk = self._desk
        try:
            desk.refusals.note(error, request=request, name=name, now_ns=desk.now_ns)
        except errors.Unavailable as full:
            error = full  # What cannot be logged is not answered for either.
        retry_after_s = error.retry_after_s if isinstance(error, errors.RateLimited) else 0
        return answers.Refused(
            code=error.code, message=str(error), hint=error.hint, retry_after_s=retry_after_s
        )

    def close(self) -> None:
        """Release the log."""
        self._desk.log.close()

    def _answer(self, request: signer_values.Message, table: _Table) -> answers.Answer:
        case = Case()
        try:
            if not self._desk.state.issuing_der:
                raise errors.Unavailable("the signer has no issuing certificate yet")
            return table[type(request)](self._desk, request, case)
        except errors.AsepsisError as error:
            return self.refuse(error, request=type(request).__name__, name=case.name)
