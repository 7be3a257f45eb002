"""What the CapabilityStatement says can be read is what the routes serve."""

from asepsis.hub.records import params
from asepsis.hub.records.capabilities import SEARCHED, readable
from asepsis.hub.records.http import READ

OWN = {params.CURSOR, "_format"}


def test_every_route_that_is_read_as_fhir_is_said() -> None:
    """Goal: neither a route that is not said, nor a word without a route."""
    said: set[str] = set()
    for one in readable(READ):
        codes = {interaction.code for interaction in one.interaction}
        said |= {f"/fhir/{one.type}"} if "search-type" in codes else set()
        said |= {f"/fhir/{one.type}/{{id}}"} if "read" in codes else set()
        said |= {f"/fhir/{one.type}/${operation.name}" for operation in one.operation}
        names = {param.name for param in one.search_param}
        assert names == SEARCHED[one.type] - OWN
    assert said == set(READ)


def test_other_paths_say_nothing() -> None:
    assert readable(("/alarms", "/trends")) == ()
