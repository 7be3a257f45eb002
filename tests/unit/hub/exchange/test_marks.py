"""Live values are marked and never withheld, whatever is found about them."""

from dataclasses import dataclass, field

from asepsis.core.compliance.profile import Interface
from asepsis.core.model.identity import Assurance, DeviceId
from asepsis.core.model.observation import MeasurementStatus, Numeric, Observation
from asepsis.core.wire.frames import WaveformFrame
from asepsis.core.wire.hl7 import Message
from asepsis.core.wire.message_record import MessageEntry, MessageFindings, MessagePeer
from asepsis.hub.exchange.bundles import BundleNumerics
from asepsis.hub.exchange.marks import MarkingFeed
from asepsis.hub.exchange.message_live import LiveMessage
from asepsis.hub.exchange.ports import LiveNumerics

DEVICE = "urn:dev:mac:0000000000000001"
NOW_NS = 1_800_000_000_000_000_000
BODY = (
    b"MSH|^~\\&|M|I|||20270115080000+0000||ORU^R01|1|P|2.6\rPID|||4711\rOBR|1|||1\r"
    b"OBX|1|NM|147842^^MDC|1.1.1|0|264864^^MDC|||||R|||20270115080000+0000||||EI\r"
    b"OBX|2|NM|150344^^MDC|1.1.2|24|266418^^MDC|||||R|||20270115080000+0000||||EI\r"
)


@dataclass
class Words:
    """Says what a test put in."""

    whole: str = ""
    of_code: dict[int, str] = field(default_factory=dict[int, str])
    asked: list[Interface] = field(default_factory=list[Interface])

    def message(self, _device: str, _message: Message) -> str:
        return self.whole

    def numeric(self, _device: str, numeric: Numeric, interface: Interface) -> str:
        self.asked.append(interface)
        return self.of_code.get(numeric.mdc_code, "")


@dataclass
class Kept:
    """A feed that keeps what it was offered."""

    batches: list[LiveNumerics] = field(default_factory=list[LiveNumerics])
    waves: list[str] = field(default_factory=list[str])

    def numerics(self, batch: LiveNumerics) -> None:
        self.batches.append(batch)

    def waveforms(
        self, device: str, _frames: tuple[WaveformFrame, ...], _assurance: Assurance
    ) -> None:
        self.waves.append(device)


def live_message() -> LiveMessage:
    findings = MessageFindings(MessagePeer("p", "UTC", ((b"EI", DEVICE),)), 0, NOW_NS)
    return LiveMessage(
        device=DEVICE,
        assurance=Assurance.SOURCE_CLAIMED,
        entry=MessageEntry(1, 0, BODY, findings),
        message=Message.parse(BODY),
        epoch=1,
        received_at_ns=NOW_NS,
        last_ns=0,
    )


def marks(words: Words, batch: LiveNumerics) -> dict[int, str]:
    kept = Kept()
    MarkingFeed(kept, words).numerics(batch)  # type: ignore[arg-type]
    (offered,) = kept.batches
    assert (offered.device, offered.received_at_ns) == (batch.device, batch.received_at_ns)
    assert offered.observations() is offered.observations()
    return {o.numeric.mdc_code: o.unverified for o in offered.observations()}


def test_every_value_goes_on_also_one_in_a_unit_that_does_not_fit() -> None:
    assert marks(Words(), live_message()) == {147842: "", 150344: ""}
    # Without a judge nobody could mark it, so it is not there.
    assert [o.numeric.mdc_code for o in live_message().observations()] == [147842]


def test_one_value_is_marked_or_the_whole_message() -> None:
    words = Words(of_code={150344: "unit: not a unit of MDC_TEMP"})
    assert marks(words, live_message()) == {147842: "", 150344: words.of_code[150344]}
    assert set(words.asked) == {Interface.HL7V2}
    whole = Words(whole="patient: another")
    assert set(marks(whole, live_message()).values()) == {"patient: another"}


def test_a_bundle_is_judged_as_one() -> None:
    numeric = Numeric(
        handle=1,
        mdc_code=147842,
        unit_code=264864,
        value=60,
        status=MeasurementStatus.VALID,
        offset_ms=0,
    )
    observation = Observation(
        device=DeviceId(DEVICE),
        assurance=Assurance.DEVICE_CERTIFICATE,
        numeric=numeric,
        epoch=1,
        sequence=1,
        device_time_ns=NOW_NS,
        received_at_ns=NOW_NS,
        late=False,
    )
    words = Words(whole="not asked", of_code={147842: "range: above"})
    assert marks(words, BundleNumerics(DEVICE, NOW_NS, (observation,))) == {147842: "range: above"}
    assert words.asked == [Interface.FHIR]


def test_waveforms_pass() -> None:
    kept = Kept()
    MarkingFeed(kept, Words()).waveforms(DEVICE, (), Assurance.DEVICE_ORIGIN)  # type: ignore[arg-type]
    assert kept.waves == [DEVICE]
