"""The list of what only one disk has, the page of the lease, and what people decide."""

import datetime as dt
import ipaddress
import os
import socket
from pathlib import Path

import pytest

from asepsis.core.errors import ConfigError, Unavailable
from asepsis.edge.gateway import scope
from asepsis.edge.gateway.pair import keymaking, keys, promotion
from asepsis.edge.gateway.pair.address import announcement
from asepsis.edge.gateway.pair.link import LinkClient, LinkServer, Promise, Reply, frames_of
from asepsis.edge.gateway.pair.listing import Entry, RiskList, at_risk, digest_of, read_again
from asepsis.edge.gateway.pair.others import entry_of
from asepsis.edge.gateway.pair.page import VARIABLE, LeasePage, boottime_ns
from asepsis.edge.gateway.pair.settings import PairSettings
from asepsis.edge.gateway.settings import Settings
from asepsis.edge.uplink.connection import Endpoint
from asepsis.edge.uplink.folder import Hospital

NOW = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)


def entry(sequence: int, *, epoch: int = 7) -> Entry:
    body = b"%d/%d" % (epoch, sequence)
    return entry_of(b"MON\rICU\r%d" % sequence, 1, (epoch, sequence), body)


def test_what_is_at_risk_is_the_list_without_what_the_hub_has_and_what_came_again(
    tmp_path: Path,
) -> None:
    found = RiskList(tmp_path / "at-risk")
    assert found.read() == []
    found.add([entry(n) for n in range(1, 6)])
    found.add([entry(2), entry(1, epoch=8)])
    with (tmp_path / "at-risk").open("ab") as file:
        file.write(b'["MON","ICU","9",1')  # Cut: it was never promised.
    entries = found.read()
    assert len(entries) == 6
    (tmp_path / "again").write_text(digest_of(b"7/4") + "\n")
    again = read_again(tmp_path / "again")
    left = at_risk(entries, received={7: (3, ((2, 2),))}, again=again)
    assert [(e.epoch, e.sequence, e.control) for e in left] == [
        (7, 2, "2"),
        (7, 5, "5"),
        (8, 1, "1"),
    ]
    found.keep(left)
    assert found.read() == left
    assert read_again(tmp_path / "nothing") == frozenset()


def test_a_page_ends_by_itself_and_tells_what_the_hub_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page = LeasePage.make()
    assert (page.holds(), page.fence()) == (False, b"late")
    page.give(token=3, end_ns=boottime_ns() + 10**9)
    monkeypatch.setenv(VARIABLE, str(os.dup(page.descriptor)))
    seen = LeasePage.inherited()
    assert seen is not None
    assert (seen.holds(), seen.fence()) == (True, b"3")
    with pytest.raises(TypeError):
        seen.end()
    page.give(token=3, end_ns=boottime_ns())
    assert (seen.holds(), seen.fence()) == (False, b"late")
    page.give(token=0, end_ns=boottime_ns() + 10**9)
    assert (seen.holds(), seen.fence()) == (True, b"late"), "people promoted it"
    monkeypatch.setenv(VARIABLE, "x")
    with pytest.raises(ConfigError):
        LeasePage.inherited()
    monkeypatch.delenv(VARIABLE)
    assert LeasePage.inherited() is None


def test_promotion_takes_two_people_and_a_reason(tmp_path: Path) -> None:
    assert promotion.read(tmp_path) is None
    for first, second, reason in (("ana", "Ana ", "fire"), ("ana", "ben", " "), ("", "ben", "x")):
        with pytest.raises(ConfigError):
            promotion.write(tmp_path, first=first, second=second, reason=reason, at_ns=1)
    promotion.write(tmp_path, first="ana", second="ben", reason="fire", at_ns=1)
    found = promotion.read(tmp_path)
    assert found == {"first": "ana", "second": "ben", "reason": "fire", "at_ns": 1}
    promotion.settle(tmp_path)
    promotion.settle(tmp_path)
    assert promotion.read(tmp_path) is None


def test_only_the_other_gateway_is_answered(tmp_path: Path) -> None:
    one, two, stranger = (tmp_path / name for name in ("one", "two", "stranger"))
    for folder in (one, two, stranger):
        pem = keymaking.make(folder, now=NOW)
        (folder / "cert.pem").write_text(pem)
        assert keymaking.make(folder, now=NOW) == pem, "once"
    with pytest.raises(ConfigError):
        keys.read(one, tmp_path / "absent.pem")
    listening = socket.create_server(("127.0.0.1", 0))
    place = Endpoint("127.0.0.1", listening.getsockname()[1])
    kept: list[int] = []

    def answer(asked: object) -> Reply:
        kept.append(0 if isinstance(asked, Promise) else 1)
        return Reply(True, False)

    server = LinkServer(listening, keys.read(one, two / "cert.pem").server(), answer=answer)
    server.start()

    def dial(endpoint: Endpoint, timeout_s: float) -> socket.socket:
        return socket.create_connection((endpoint.host, endpoint.port), timeout_s)

    try:
        right = LinkClient(place, keys.read(two, one / "cert.pem").client(), dial=dial)
        assert right.ask(Promise()).done
        (frame,) = frames_of([entry(1)])
        assert right.ask(frame).done
        assert kept == [0, 1]
        right.close()
        for client in (
            LinkClient(place, keys.read(stranger, one / "cert.pem").client(), dial=dial),
            LinkClient(place, keys.read(two, stranger / "cert.pem").client(), dial=dial),
        ):
            with pytest.raises(Unavailable):
                client.ask(Promise())
        assert kept == [0, 1]
    finally:
        server.close()


def test_an_announcement_is_an_arp_request_for_the_address_itself() -> None:
    frame = announcement(b"\x02\0\0\0\0\x01", ipaddress.IPv4Address("10.1.2.3"))
    assert frame[:14] == b"\xff" * 6 + b"\x02\0\0\0\0\x01\x08\x06"
    assert frame[28:32] == frame[38:42] == bytes((10, 1, 2, 3))
    assert len(frame) == 42


def test_the_scope_of_a_pair_names_the_other_gateway_and_no_place_besides() -> None:
    other = "urn:uuid:00000000-0000-4000-8000-000000000002"
    section = PairSettings(
        partner=other, certificate_file="p.pem", listen_host="10.1.0.5", partner_host="10.1.0.6"
    )
    hospital = Hospital(Endpoint("hub", 8443), Endpoint("hub", 8444))
    (reach,) = scope.pair(Settings(pair=section), name="urn:uuid:1", hospital=hospital)
    assert reach.connects == ("hub:8443", "hub:8444", "10.1.0.6:7443")
    assert reach.accepts == (f"{other} 10.1.0.5:7443",)
    assert scope.pair(Settings(), name="urn:uuid:1", hospital=hospital) == ()
