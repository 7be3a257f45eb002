"""What a plan becomes: the fewest networks, filters that know all, drafts that are read."""

import itertools
import tomllib
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.analysis.threats.file import read_model
from asepsis.analysis.threats.measures.build import FILTER_FILE, Built, Known, build
from asepsis.analysis.threats.measures.segments import fewest_groups, layout
from asepsis.core.compliance.profile import Interface, read_profile
from asepsis.core.errors import InputError
from asepsis.hub.fleet.campaigns.document import read_campaign

HOSPITAL = (files("asepsis.analysis.threats") / "examples" / "hospital.yaml").read_text("utf-8")
RELEASE = "ab" * 32


def built(text: str, plan: dict[str, int], known: Known | None = None) -> Built:
    return build(read_model(text.encode(), name="m.yaml")[0], plan, known=known or Known())


def test_each_kind_of_device_stands_apart_and_the_rest_stays_together() -> None:
    found = built(HOSPITAL, {"segmentation": 2})
    assert found.layout is not None
    assert found.layout.fewest
    vlans = {vlan.name: vlan for vlan in found.layout.vlans}
    assert vlans.keys() == {
        "bedside", "central@bedside", "monitor@bedside", "pump@bedside", "imaging", "office",
    }  # fmt: skip
    assert vlans["monitor@bedside"].flows == ("values",)
    assert vlans["pump@bedside"].flows == ()
    networks = [net for segment in found.layout.segments for net in segment.networks]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(networks, 2))
    assert {opening.flow for opening in found.openings} == {"admissions", "results", "values"}
    assert len(found.cut) == 2, "remote service has no flow"


def test_zones_that_nothing_keeps_apart_share_a_vlan_unless_a_filter_stands_between() -> None:
    open_ = HOSPITAL.replace(
        "imaging: {text: the network of imaging,",
        "imaging: {text: the network of imaging, reaches: [office],",
    )
    model, _ = read_model(open_.encode(), name="m.yaml")
    names = [vlan.name for vlan in layout(model, {"segmentation": 1}).vlans]
    assert names == ["bedside", "imaging+office"]


@given(st.integers(1, 6), st.sets(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12))
def test_no_fewer_groups_would_do(count: int, pairs: set[tuple[int, int]]) -> None:
    apart = [
        frozenset(b for b in range(count) if a != b and ((a, b) in pairs or (b, a) in pairs))
        for a in range(count)
    ]
    groups, proven = fewest_groups(apart)
    assert proven
    assert all(groups[a] != groups[b] for a in range(count) for b in apart[a])
    fewest = min(
        len(set(trial))
        for trial in itertools.product(range(count), repeat=count)
        if all(trial[a] != trial[b] for a in range(count) for b in apart[a])
    )
    assert len(set(groups)) == fewest


@pytest.mark.parametrize(
    ("old", "new", "missing"),
    [
        (", networks: [10.20.0.0/22]", "", "zones.bedside.networks"),
        ("    addresses: [10.20.0.0/24]\n", "", "devices.monitor.addresses"),
        (" addresses: [10.20.1.20],", "", "devices.gateway.addresses"),
        (" target_ports: [tcp/7000],", "", "flows.values.target_ports"),
    ],
)
def test_a_filter_that_would_not_know_all_is_refused(old: str, new: str, missing: str) -> None:
    assert old in HOSPITAL
    with pytest.raises(InputError, match=missing):
        built(HOSPITAL.replace(old, new), {"segmentation": 2})


def test_addresses_are_addresses() -> None:
    with pytest.raises(InputError, match="no address or network"):
        built(HOSPITAL.replace("10.30.0.0/24", "10.30.0.0/64"), {"segmentation": 1})
    with pytest.raises(InputError, match="no name of a network card"):
        built(HOSPITAL, {"segmentation": 1}, Known(cards={"bedside": 'x" accept'}))
    with pytest.raises(InputError, match="no part of the network"):
        built(HOSPITAL, {"segmentation": 1}, Known(cards={"bedsid": "eth0"}))


def test_a_stranger_s_text_stays_a_comment() -> None:
    text = HOSPITAL.replace(
        "name: Intensive care of a general hospital", 'name: "x\\nflush ruleset"'
    )
    rules = built(text, {"segmentation": 1}).files[FILTER_FILE]
    assert not any(line.startswith("flush") for line in rules.splitlines())


def test_both_families_of_addresses_are_filtered() -> None:
    text = HOSPITAL.replace("[10.20.0.0/22]", "[10.20.0.0/22, 'fd00:20::/64']").replace(
        "addresses: [10.20.0.0/24]", "addresses: [10.20.0.0/24, 'fd00:20::1']"
    )
    rules = built(text, {"segmentation": 2}).files[FILTER_FILE]
    assert "ip6 daddr @s_monitor.bedside_6 jump declared" in rules
    assert "ip6 saddr @f_values" not in rules, "the central station has no such address"


def test_measures_in_software_become_campaigns_and_say_what_is_open() -> None:
    found = built(HOSPITAL, {"sandbox": 1})
    assert set(found.files) == {"campaign-sandbox.toml"}
    assert [line.partition(": ")[2].partition(":")[0] for line in found.open] == [
        "release", "change",
    ]  # fmt: skip
    with pytest.raises(InputError, match="release"):
        read_campaign(found.files["campaign-sandbox.toml"])
    known = Known(releases={"sandbox": RELEASE}, change="CHG-1")
    ready = built(HOSPITAL, {"sandbox": 1}, known)
    spec = read_campaign(ready.files["campaign-sandbox.toml"])
    assert (spec.name, spec.release, spec.change) == ("sandbox", RELEASE, "CHG-1")
    assert spec.select.models == {"Acme M3"}
    assert spec.acceptance, "a monitor goes back to patients by a person"
    assert ready.open == []
    with pytest.raises(InputError, match="no campaign"):
        built(HOSPITAL, {"sandbox": 1}, Known(releases={"usb-lock": RELEASE}))
    with pytest.raises(InputError, match="SHA-256"):
        built(HOSPITAL, {"sandbox": 1}, Known(releases={"sandbox": "latest"}))


def test_routes_over_a_gateway_become_profiles() -> None:
    found = built(HOSPITAL, {"encrypted-links": 1})
    made = {name: tomllib.loads(text) for name, text in found.files.items()}
    assert made["profile-results.toml"]["types"] == ["ORU^R01"]
    assert made["profile-admissions.toml"]["types"] == ["ADT^*"]
    profile = read_profile(found.files["profile-images.toml"].encode())
    assert (profile.interface, profile.models) == (Interface.DICOM, ("Sono 9",))
    assert any("models" in line for line in found.open), "nobody said what the gateway is"


def test_what_is_no_file_stays_work_of_people() -> None:
    found = built(HOSPITAL, {"usb-lock": 1, "backups": 1})
    assert found.files == {}
    assert [line.partition(":")[0] for line in found.by_hand] == ["usb-lock", "backups"]
