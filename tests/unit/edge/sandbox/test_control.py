"""Orders and reports between a supervisor and its compartments."""

import os
import socket
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import ConfigError, FramingError, LimitExceeded, Unavailable
from asepsis.edge.sandbox import control, kernel, landlock
from asepsis.edge.sandbox.broker import CHANNELS, Address, Broker, BrokerClient
from asepsis.edge.sandbox.confine import Confinement, Limits
from asepsis.edge.sandbox.layers import ALL, Finding, Layer, Layers, require_apart
from asepsis.edge.sandbox.seccomp import SyscallClass

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def line() -> Iterator[Pair]:
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    yield ends
    for end in ends:
        end.close()


def test_an_order_brings_values_and_descriptors_by_name(line: Pair) -> None:
    mine, theirs = line
    read, write = os.pipe()
    control.send_order(mine, "start", {"n": 1}, descriptors={"pipe": write})
    os.close(write)
    order = control.receive_order(theirs)
    assert order
    assert (order.what, order.body) == ("start", {"n": 1})
    os.write(order.descriptors["pipe"], b"x")
    os.close(order.descriptors["pipe"])
    assert os.read(read, 9) == b"x"
    os.close(read)


def test_orders_are_bounded_and_a_dead_compartment_is_said(line: Pair) -> None:
    mine, theirs = line
    with pytest.raises(LimitExceeded):
        control.send_order(mine, "x", {"y": "z" * control.ORDER_BYTES_MAX})
    theirs.close()
    with pytest.raises(Unavailable):
        control.send_order(mine, "x", {})
    assert control.receive_report(mine) is None


@pytest.mark.timeout(20)
@pytest.mark.parametrize("passed", [False, True], ids=["bare", "with a descriptor"])
def test_an_order_to_one_that_reads_nothing_never_blocks(line: Pair, passed: bool) -> None:  # noqa: FBT001
    """Goal: an owned compartment that stops reading cannot hold up its supervisor."""
    mine, theirs = line
    descriptors = {"line": theirs.fileno()} if passed else {}

    def flood() -> None:
        for _ in range(100_000):
            control.send_order(mine, "again", {}, descriptors=descriptors)

    with pytest.raises(Unavailable):
        flood()


def test_a_report_never_blocks(line: Pair) -> None:
    mine, theirs = line
    for _ in range(5_000):
        control.send_report(theirs, {"event": "alive"})
    assert control.receive_report(mine) == {"event": "alive"}


@given(st.binary(min_size=1, max_size=control.REPORT_BYTES_MAX + 100))
def test_no_report_of_an_owned_compartment_fails_otherwise(noise: bytes) -> None:
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with mine, theirs:
        theirs.send(noise)
        try:
            report = control.receive_report(mine)
        except FramingError:
            return
        assert isinstance(report, dict)


def test_deep_json_is_no_way_to_end_the_supervisor(line: Pair) -> None:
    mine, theirs = line
    theirs.send(b"[" * control.REPORT_BYTES_MAX)
    with pytest.raises(FramingError):
        control.receive_report(mine)
    theirs.send(b"x")
    with pytest.raises(FramingError):
        control.receive_order(mine)


def test_a_confinement_travels_whole() -> None:
    order = Confinement(
        layers=frozenset({Layer.SECCOMP, Layer.USERS}),
        kind=SyscallClass.NETWORK,
        user=62_203,
        limits=Limits(memory_mib=1, files=2, file_mib=3),
        lock_memory=True,
    )
    assert Confinement.from_document(order.to_document()) == order
    with pytest.raises(ConfigError):
        Confinement.from_document({})


def test_the_broker_connects_to_pinned_endpoints_only() -> None:
    got: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                got.append(connection.recv(9))

        thread = threading.Thread(target=answer)
        thread.start()
        broker = Broker([Address("127.0.0.1", port), Address("127.0.0.1", 9)])
        client = BrokerClient([os.dup(end.fileno()) for end in broker.theirs])
        broker.start()
        with client.dial(0, timeout_s=5) as connected:
            connected.sendall(b"hello")
        thread.join(5)
        assert got == [b"hello"]
        for number in (1, 2, 255):
            with pytest.raises(Unavailable):
                client.dial(number, timeout_s=5)
        assert broker.refused == 2
        broker.close()
        for _ in range(CHANNELS):
            with pytest.raises(Unavailable):
                client.dial(0, timeout_s=1)


@given(st.sets(st.sampled_from(sorted(ALL, key=lambda layer: layer.name))))
def test_a_machine_without_separation_is_refused(layers: set[Layer]) -> None:
    apart = (
        Layer.RING in layers
        and Layer.SECCOMP in layers
        and (Layer.LANDLOCK in layers or Layer.BUBBLEWRAP in layers)
    )
    if apart:
        require_apart(frozenset(layers))
    else:
        with pytest.raises(ConfigError):
            require_apart(frozenset(layers))


def test_every_layer_says_what_it_means_and_what_its_absence_means() -> None:
    for layer in Layer:
        texts = {Finding(layer=layer, holds=h, detail="").meaning for h in (True, False)}
        assert len(texts) == 2
    found = Layers((Finding(layer=Layer.RING, holds=True, detail="x"),))
    assert found.holding == {Layer.RING}
    assert found.as_document()[0]["holds"] is True


@pytest.mark.parametrize(
    ("version", "size", "network", "scoped"),
    [(1, 8, 0, 0), (2, 8, 0, 0), (3, 8, 0, 0), (4, 16, 3, 0), (5, 16, 3, 0), (7, 24, 3, 3)],
)
def test_an_older_kernel_is_asked_only_for_what_it_knows(
    version: int, size: int, network: int, scoped: int
) -> None:
    rules = landlock.ruleset(version)
    assert (rules.size, rules.network, rules.scoped) == (size, network, scoped)
    assert rules.files.bit_length() == {1: 13, 2: 14, 3: 15, 4: 15, 5: 16, 7: 16}[version]


def test_system_calls_report_their_errors() -> None:
    assert kernel.system_call(0xFFFF) == (-1, 38)
    with pytest.raises(ConfigError):
        kernel.prctl(0xFFFF)
