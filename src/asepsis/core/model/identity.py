"""Who somebody is: one stable name per device, and the kinds of principal.

A device's name is the URI in its certificate's subject alternative name, stable over certificates:

* EUI-64: `urn:dev:mac:` and sixteen lower-case hex digits (RFC 9039 section 4.1);
* UDI: `https://id.gs1.org/01/{GTIN-14}/21/{serial}` (GS1 Digital Link 1.2 section 4), the device
  identifier (DI) *plus* the serial number, because a DI alone names a model, not a device.

Gateways, consumers and servers carry `urn:uuid:` names (RFC 9562).
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from asepsis.core.errors import InputError

NAME_CHARS_MAX: Final = 120
_EUI64: Final = re.compile(r"urn:dev:mac:[0-9a-f]{16}")
_UDI: Final = re.compile(r"https://id\.gs1\.org/01/([0-9]{14})/21/([A-Za-z0-9._-]{1,20})")
_UUID: Final = re.compile(r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class PrincipalKind(Enum):
    """The kinds of identity that can stand behind a request."""

    DEVICE = "device"
    GATEWAY = "gateway"
    CONSUMER = "consumer"
    SERVER = "server"
    PERSON = "person"
    IDEVID = "idevid"
    UPDATE_CLIENT = "update-client"
    ANONYMOUS = "anonymous"


class Assurance(Enum):
    """How far an observation's origin is proven, strongest first (REQ-ORG-012)."""

    DEVICE_ORIGIN = "device-origin"
    DEVICE_CERTIFICATE = "device-certificate"
    GATEWAY_OBSERVED = "gateway-observed"
    SOURCE_CLAIMED = "source-claimed"


@dataclass(frozen=True, slots=True, order=True)
class DeviceId:
    """The stable name of one device.

    Attributes:
        uri: Canonical SAN URI, at most `NAME_CHARS_MAX` characters.
    """

    uri: str

    @classmethod
    def parse(cls, text: str) -> "DeviceId":
        """Read a device name in canonical form.

        Raises:
            InputError: Neither an EUI-64 nor a UDI name, or a GTIN with a wrong check digit.

        Source: RFC 9039 section 4.1; GS1 Digital Link; GS1 General Specifications 7.9.
        """
        if len(text) <= NAME_CHARS_MAX:
            if _EUI64.fullmatch(text):
                return cls(text)
            udi = _UDI.fullmatch(text)
            if udi and _gtin_check_digit_holds(udi.group(1)):
                return cls(text)
        raise InputError(
            "not a device name",
            hint="use urn:dev:mac:<16 hex digits> or https://id.gs1.org/01/<GTIN-14>/21/<serial>",
        )

    @classmethod
    def from_eui64(cls, eui64: int) -> "DeviceId":
        """Name a device by its EUI-64, an integer in [0, 2**64).

        Raises:
            InputError: Outside 64 bits.
        """
        if not 0 <= eui64 < 1 << 64:
            raise InputError("an EUI-64 has 64 bits")
        return cls(f"urn:dev:mac:{eui64:016x}")

    @classmethod
    def from_udi(cls, gtin14: str, serial: str) -> "DeviceId":
        """Name a device by the two parts of its UDI.

        Raises:
            InputError: A part is missing or malformed; a DI without serial is no device.
        """
        return cls.parse(f"https://id.gs1.org/01/{gtin14}/21/{serial}")

    def __str__(self) -> str:
        return self.uri


def parse_system_name(text: str) -> str:
    """Return the `urn:uuid:` name of a gateway, consumer or server.

    Raises:
        InputError: Not such a name in canonical lower case.
    """
    if not _UUID.fullmatch(text):
        raise InputError("not a system name", hint="use urn:uuid:<lower-case UUID>")
    return text


def _gtin_check_digit_holds(gtin14: str) -> bool:
    weighted = sum(int(d) * (3 if i % 2 == 0 else 1) for i, d in enumerate(gtin14[:-1]))
    return (10 - weighted % 10) % 10 == int(gtin14[-1])
