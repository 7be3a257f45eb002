"""Judges SAML 2.0 assertions: one assertion, one signature, one pinned certificate.

Only the element that the signature covers is read, and it must be the whole document, so nothing
can be wrapped around it or hidden beside it.

Source: SAML 2.0 core (saml-core-2.0-os) sections 2.3 to 2.5 and 5.4; DICOM PS3.7 D.3.3.7.
"""

import importlib
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, cast

from cryptography import x509
from signxml.algorithms import DigestAlgorithm, SignatureMethod
from signxml.exceptions import SignXMLException
from signxml.verifier import SignatureConfiguration, XMLVerifier

from asepsis.core.errors import ConfigError, NotAuthenticated
from asepsis.edge.gateway.imaging.proofs import CLAIMS_MAX, Proven
from asepsis.edge.gateway.imaging.settings import SamlSettings

ASSERTION_BYTES_MAX: Final = 65_535
etree: Final[Any] = importlib.import_module("lxml.etree")  # It has no types.
_NAMESPACE: Final = "urn:oasis:names:tc:SAML:2.0:assertion"
_S: Final = f"{{{_NAMESPACE}}}"
_METHODS: Final = frozenset(
    {
        SignatureMethod.RSA_SHA256,
        SignatureMethod.RSA_SHA384,
        SignatureMethod.RSA_SHA512,
        SignatureMethod.ECDSA_SHA256,
        SignatureMethod.ECDSA_SHA384,
        SignatureMethod.ECDSA_SHA512,
    }
)
_DIGESTS: Final = frozenset(
    {DigestAlgorithm.SHA256, DigestAlgorithm.SHA384, DigestAlgorithm.SHA512}
)
_CONFIGURATION: Final = SignatureConfiguration(
    require_x509=True,
    expect_references=1,
    signature_methods=_METHODS,
    digest_algorithms=_DIGESTS,
)


class SamlJudge:
    """Assertions of one issuer.

    Args:
        settings: The section.
        skew_s: Difference of clocks that is forgiven, seconds.
        now: Aware wall time.

    Raises:
        ConfigError: The certificate does not load.
    """

    def __init__(
        self, settings: SamlSettings, *, skew_s: float, now: Callable[[], datetime]
    ) -> None:
        self._settings = settings
        self._skew = timedelta(seconds=skew_s)
        self._now = now
        cast("Any", XMLVerifier).schemas()  # Read now: a confined process cannot.
        try:
            pem = Path(settings.certificate_file).read_bytes()
            self._certificate = x509.load_pem_x509_certificate(pem)
        except (OSError, ValueError) as error:
            raise ConfigError(f"{settings.certificate_file}: no certificate loads") from error

    def judge(self, primary: bytes, secondary: bytes) -> Proven:  # noqa: ARG002 - no second field
        """Return the subject of an assertion.

        Raises:
            NotAuthenticated: Not signed by the pinned key, not whole, not for us, not now.
        """
        assertion = self._signed(_parse(primary))
        issuer = (assertion.findtext(f"{_S}Issuer") or "").strip()
        if issuer != self._settings.issuer:
            raise NotAuthenticated("an assertion of another issuer")
        self._check_conditions(assertion)
        subject = assertion.find(f"{_S}Subject")
        user = "" if subject is None else (subject.findtext(f"{_S}NameID") or "").strip()
        if subject is None or not user:
            raise NotAuthenticated("an assertion without a subject")
        for data in subject.iter(f"{_S}SubjectConfirmationData"):
            self._check_times(data)
        return Proven(user, self._roles(assertion))

    def _signed(self, document: Any) -> Any:
        """Return the signed element, which is the whole document.

        Raises:
            NotAuthenticated: It is not, or the signature does not hold.
        """
        try:
            found = cast("Any", XMLVerifier()).verify(
                document,
                x509_cert=self._certificate,
                expect_config=_CONFIGURATION,
            )
        except (SignXMLException, etree.LxmlError, ValueError, KeyError, TypeError) as error:
            raise NotAuthenticated(f"assertion: {type(error).__name__}") from error
        signed = found.signed_xml
        if signed is None or signed.tag != f"{_S}Assertion" or document.tag != signed.tag:
            raise NotAuthenticated("the signature does not cover the whole assertion")
        if signed.get("ID") != document.get("ID") or not signed.get("ID"):
            raise NotAuthenticated("the signature covers something else")
        return signed

    def _check_conditions(self, assertion: Any) -> None:
        conditions = assertion.findall(f"{_S}Conditions")
        if len(conditions) != 1 or not conditions[0].get("NotOnOrAfter"):
            raise NotAuthenticated("an assertion that never ends")
        self._check_times(conditions[0])
        restrictions = conditions[0].findall(f"{_S}AudienceRestriction")
        audiences = [
            {(audience.text or "").strip() for audience in restriction.iter(f"{_S}Audience")}
            for restriction in restrictions
        ]
        if not audiences or not all(self._settings.audience in named for named in audiences):
            raise NotAuthenticated("an assertion for another audience")

    def _check_times(self, element: Any) -> None:
        now = self._now()
        begins, ends = element.get("NotBefore"), element.get("NotOnOrAfter")
        try:
            early = begins is not None and now + self._skew < datetime.fromisoformat(begins)
            late = ends is not None and now - self._skew >= datetime.fromisoformat(ends)
        except (ValueError, TypeError) as error:  # TypeError: a time without zone.
            raise NotAuthenticated("an assertion with a time that is none") from error
        if early or late:
            raise NotAuthenticated("an assertion outside its time")

    def _roles(self, assertion: Any) -> frozenset[str]:
        wanted = self._settings.role_attribute
        values = [
            (value.text or "").strip()
            for attribute in assertion.iter(f"{_S}Attribute")
            if wanted and attribute.get("Name") == wanted
            for value in attribute.iter(f"{_S}AttributeValue")
        ]
        return frozenset(values[:CLAIMS_MAX])


def _parse(data: bytes) -> Any:
    if len(data) > ASSERTION_BYTES_MAX:
        raise NotAuthenticated("an assertion that is too long")
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        remove_comments=False,
    )
    try:
        document = etree.fromstring(data, parser)
    except (etree.LxmlError, ValueError) as error:
        raise NotAuthenticated("an assertion that is no XML") from error
    if document.getroottree().docinfo.doctype:
        raise NotAuthenticated("an assertion with a document type")
    odd = [e for e in document.iter() if not isinstance(e.tag, str)]
    if odd or len(list(document.iter(f"{_S}Assertion"))) != 1:
        raise NotAuthenticated("not one plain assertion")
    return document
