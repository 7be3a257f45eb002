"""Connecting on behalf of a compartment: soon, and never longer than it may."""

import contextlib
import socket
import threading
import time

import pytest

from asepsis.edge.sandbox.broker import STAGGER_S, Address, connect_soon

HOST = "127.0.0.1"


def test_it_connects_and_the_socket_blocks() -> None:
    with socket.create_server((HOST, 0)) as server:
        connected = connect_soon(Address(HOST, server.getsockname()[1]), timeout_s=2)
        with connected:
            assert connected.getblocking()
            assert connected.getpeername() == server.getsockname()


def test_a_refusal_is_told_at_once() -> None:
    with socket.socket() as closed:
        closed.bind((HOST, 0))
        began_s = time.monotonic()
        with pytest.raises(ConnectionRefusedError):
            connect_soon(Address(HOST, closed.getsockname()[1]), timeout_s=5)
        assert time.monotonic() - began_s < 1


def test_a_host_with_two_addresses_is_reached_on_the_one_that_answers() -> None:
    """Goal: `localhost` is ::1 too; a listener on IPv4 only is found."""
    with socket.create_server((HOST, 0)) as server:
        connected = connect_soon(Address("localhost", server.getsockname()[1]), timeout_s=2)
        with connected:
            assert connected.getpeername()[0] == HOST


def test_a_host_that_is_silent_and_then_back_is_found_at_the_next_attempt() -> None:
    """Goal: a full backlog drops a packet as a dead link does; the kernel repeats after 1 s."""
    with socket.socket() as server, contextlib.ExitStack() as held:
        server.bind((HOST, 0))
        server.listen(0)
        address = Address(HOST, server.getsockname()[1])
        while True:  # Fill it until a connect hangs.
            filler = held.enter_context(socket.socket())
            filler.settimeout(0.1)
            try:
                filler.connect(address)
            except TimeoutError:
                break
        with pytest.raises(TimeoutError):
            connect_soon(address, timeout_s=0.2)
        took_s: list[float] = []

        def connect() -> None:
            began_s = time.monotonic()
            connect_soon(address, timeout_s=5).close()
            took_s.append(time.monotonic() - began_s)

        thread = threading.Thread(target=connect)
        thread.start()
        time.sleep(STAGGER_S / 2)
        for _ in range(8):
            server.settimeout(0.5)
            with contextlib.suppress(TimeoutError):
                held.enter_context(server.accept()[0])
        thread.join(10)
    assert took_s
    assert took_s[0] < 2 * STAGGER_S + 0.3
