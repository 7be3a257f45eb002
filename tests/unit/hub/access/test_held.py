"""Connections by credential: the end of a credential ends exactly its connections."""

from collections.abc import Callable

from asepsis.hub.access.held import HeldConnections


class Line:
    """A connection that remembers whether it was ended."""

    def __init__(self) -> None:
        self.closed = False
        self._told: list[Callable[[], None]] = []

    def on_close(self, callback: Callable[[], None]) -> None:
        self._told.append(callback)

    def close(self) -> None:
        self.closed = True
        for callback in self._told:
            callback()


def test_the_end_of_a_session_ends_its_connections_and_no_other() -> None:
    held = HeldConnections()
    lines = [Line() for _ in range(4)]
    for line, credential, person in zip(
        lines,
        ("session:1", "session:1", "session:2", "token:9"),
        ("ana", "ana", "ana", "ben"),
        strict=True,
    ):
        held.note(line, credential=credential, person=person)
    assert held.end("session:1", besides=lines[0]) == 1
    assert [line.closed for line in lines] == [False, True, False, False]
    assert held.end_person("ana") == 2
    assert [line.closed for line in lines] == [True, True, True, False]
    assert held.credentials() == {"token:9"}
    lines[3].close()
    assert len(held) == 0
    assert held.end("token:9") == 0


def test_a_connection_belongs_to_what_it_showed_last() -> None:
    held, line = HeldConnections(), Line()
    held.note(line, credential="session:1", person="ana")
    held.note(line, credential="session:1", person="ana")
    held.note(line, credential="session:2", person="ben")
    assert held.end("session:1") == 0
    assert held.end_person("ana") == 0
    assert held.end_person("ben") == 1
    assert line.closed
