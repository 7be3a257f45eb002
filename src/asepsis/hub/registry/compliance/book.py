"""The profile of each device, answered from memory, and what was found about it."""

from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from asepsis.core.compliance.hl7 import Hl7Judge
from asepsis.core.compliance.profile import BINDING, Interface, Metric, Profile
from asepsis.core.compliance.verdict import Rule
from asepsis.hub.registry.compliance.records import Admission, State, Stored

COUNTED_MAX: Final = 20_000
"""Devices whose findings are counted; the ones not heard longest are forgotten first."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What judges one device on one interface.

    Attributes:
        judge: With its profile.
        admission: Why this profile; None where nothing was decided.
    """

    judge: Hl7Judge
    admission: Admission | None

    @property
    def profile(self) -> Profile:
        """The profile."""
        return self.judge.profile


@dataclass(slots=True)
class ComplianceBook:
    """Belongs to one event loop and never blocks.

    Attributes:
        model_of: Says the model of a device; "" where nobody said.
    """

    model_of: Callable[[str], str]
    version: int = -1
    stored: Sequence[Stored] = ()
    admissions: Sequence[Admission] = ()
    _judges: dict[tuple[str, int], Hl7Judge] = field(
        default_factory=dict[tuple[str, int], Hl7Judge]
    )
    _decided: dict[tuple[str, Interface], Decided] = field(
        default_factory=dict[tuple[str, Interface], Decided]
    )
    _counts: OrderedDict[str, Counter[Rule]] = field(
        default_factory=OrderedDict[str, Counter[Rule]]
    )
    _fallback: Decided = field(default_factory=lambda: Decided(Hl7Judge(BINDING), None))

    def load(self, state: State) -> None:
        """Replace everything but the counts."""
        self.version, self.stored, self.admissions = state.version, state.stored, state.admissions
        self._judges = {
            (one.profile.name, one.profile.version): Hl7Judge(one.profile) for one in state.stored
        }
        self._decided = {
            (admission.subject, admission.interface): Decided(
                self._judges[admission.profile, admission.version], admission
            )
            for admission in state.admissions
            if (admission.profile, admission.version) in self._judges
        }

    def decided(self, device: str, interface: Interface) -> Decided:
        """Return what judges a device: decided for itself, else for its model, else for all."""
        if not self._decided:
            return self._fallback
        own = self._decided.get((device, interface))
        return own or self._decided.get((self.model_of(device), interface), self._fallback)

    def metrics(self, device: str) -> Sequence[Metric]:
        """Return what a device declares that it measures, on whatever interface it speaks."""
        if not self._decided:
            return ()
        for interface in (Interface.ADP, Interface.HL7V2, Interface.FHIR):
            found = self.decided(device, interface).profile.metrics
            if found:
                return found
        return ()

    def count(self, device: str, rule: Rule) -> None:
        """Remember that something was found about a device."""
        counts = self._counts.get(device)
        if counts is None:
            counts = self._counts[device] = Counter()
            if len(self._counts) > COUNTED_MAX:
                self._counts.popitem(last=False)
        counts[rule] += 1

    def counts(self) -> dict[str, dict[str, int]]:
        """Return what was found since this hub started: device -> rule -> how often."""
        return {
            device: {rule.value: count for rule, count in sorted(found.items())}
            for device, found in sorted(self._counts.items())
        }

    def forget(self, device: str) -> None:
        """Drop the counts of a revoked device."""
        self._counts.pop(device, None)
