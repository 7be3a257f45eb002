"""The file of routes, read at the start and again when it changed."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog

from asepsis.core.errors import AsepsisError, ConfigError
from asepsis.core.mapping.route import Route, routes_of
from asepsis.core.mapping.route_document import FILE_BYTES_MAX, TABLE_BYTES_MAX, read_routes

LOOK_EVERY_S: Final = 2.0

log = structlog.get_logger("delivery")


class RouteBook:
    """The routes of now.

    Args:
        path: The file; None for a hub without routes.

    Raises:
        ConfigError: The file is absent or wrong.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._seen = self._stamp()
        self._routes: Sequence[Route] = self._read() if path is not None else ()

    def routes(self) -> Sequence[Route]:
        """Return the routes of now, in the order of the file."""
        return self._routes

    async def run(self) -> None:
        """Follow the file until cancelled; what is wrong changes nothing and is told."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            stamp = self._stamp()
            if self._path is None or stamp == self._seen:
                continue
            self._seen = stamp
            try:
                self._routes = self._read()
            except AsepsisError as error:
                log.error("the new routes are wrong; the old ones stay", error=str(error))  # noqa: TRY400 - deliberate, no trace
                continue
            log.info("routes are read", routes=[route.name for route in self._routes])

    def _stamp(self) -> object:
        if self._path is None:
            return None
        try:
            files = [self._path, *sorted(self._path.parent.glob("*.csv"))]
            return [(file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files]
        except OSError:
            return None

    def _read(self) -> Sequence[Route]:
        path = self._path or Path()
        try:
            return routes_of(read_routes(_bytes(path, FILE_BYTES_MAX), read_table=self._table))
        except AsepsisError as error:
            raise ConfigError(f"{path}: {error}", hint=error.hint) from error

    def _table(self, name: str) -> bytes:
        return _bytes((self._path or Path()).parent / name, TABLE_BYTES_MAX)


def _bytes(path: Path, bytes_max: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(bytes_max + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
