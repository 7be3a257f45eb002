"""The OpenAPI documents name exactly the routes, media types and statuses of the real hub."""

import asyncio
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hub_ward import make_ward
from openapi_spec_validator import validate

from asepsis.hub.app.hub import Hub
from asepsis.hub.exchange.intake import Clocks
from asepsis.hub.exchange.rules import ROUTE_RULES
from asepsis.hub.opening import open_kek
from asepsis.hub.settings import read_settings
from asepsis.hub.web.problems import STATUS

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "standard" / "openapi"
GIVEN = {"200", "201", "204", "206", "304", "416", "default"}
"""What is no refusal; 416 says that nothing of a range is there."""
PAGES = ROOT / "docs" / "reference" / "console.md"
LISTENERS = {"hot-lanes": {"clinical", "enrolment"}, "people": {"people"}}
METHODS = {"get", "post", "put", "patch", "delete", "head"}
Operation = dict[str, Any]


def document(name: str) -> dict[str, Any]:
    return yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))


def operations(name: str) -> Iterator[tuple[str, str, Operation]]:
    for path, item in document(name)["paths"].items():
        for method in METHODS & item.keys():
            yield method.upper(), path, item[method]


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[tuple[str, str]]]:
    """Return listener -> its methods and paths, as a hub really composes them."""
    hospital = make_ward(tmp_path_factory.mktemp("tables")).hospital

    async def look() -> dict[str, set[tuple[str, str]]]:
        settings = read_settings(hospital.toml)
        hub = Hub(
            settings,
            clocks=Clocks(wall=time.time_ns, monotonic=time.monotonic_ns),
            kek=open_kek(settings.sealing, hub_folder=hospital.data / "hub"),
        )
        await hub.start()
        found = {
            listener.value: {(r.method, r.path) for r in router.routes(listener.value)}
            for listener, router in hub.routers.items()
        }
        await hub.stop()
        return found

    return asyncio.run(look())


@pytest.mark.parametrize("name", LISTENERS)
def test_a_document_is_valid(name: str) -> None:
    validate(document(name), base_uri=(FOLDER / f"{name}.yaml").as_uri())


@pytest.mark.parametrize("name", LISTENERS)
def test_documented_routes_are_the_real_ones(
    name: str, tables: dict[str, set[tuple[str, str]]]
) -> None:
    """Goal: nothing is promised that is not there, and nothing is there that is not said."""
    real = set[tuple[str, str]]().union(*(tables[listener] for listener in LISTENERS[name]))
    documented = {(method, path) for method, path, _ in operations(name)}
    assert not documented & pages()
    assert documented | (pages() if name == "people" else set()) == real


def pages() -> set[tuple[str, str]]:
    """Return what people open with a browser: the table of the console's page."""
    text = PAGES.read_text(encoding="utf-8")
    return set(re.findall(r"^\| `(GET|POST) (/[^`]*)` \|", text, re.MULTILINE))


def test_every_listener_is_documented(tables: dict[str, set[tuple[str, str]]]) -> None:
    assert set[str]().union(*LISTENERS.values()) == tables.keys()


def test_lanes_take_the_media_types_and_sizes_that_are_documented() -> None:
    paths = document("hot-lanes")["paths"]
    for route, rule in ROUTE_RULES.items():
        content = paths[route.value]["post"]["requestBody"]["content"]
        assert content.keys() == rule.media, route
        sizes = {body["schema"]["maxLength"] for body in content.values() if _sized(body)}
        assert max(sizes, default=0) <= rule.body_bytes_max, route


def _sized(body: dict[str, Any]) -> bool:
    return "maxLength" in body["schema"]


@pytest.mark.parametrize("name", LISTENERS)
def test_documented_statuses_are_ones_that_the_hub_gives(name: str) -> None:
    """Goal: every refusal is a status of the table of problems, and every route may refuse."""
    given = {str(status) for status in STATUS.values()} | GIVEN
    for method, path, operation in operations(name):
        assert operation["responses"].keys() <= given, (method, path)
        assert "default" in operation["responses"], (method, path)


def test_what_asks_to_come_back_says_when() -> None:
    """Goal: REQ-ERR-005."""
    for name in LISTENERS:
        for method, path, operation in operations(name):
            for status in {"429", "503"} & operation["responses"].keys():
                reference = operation["responses"][status]["$ref"]
                assert reference.endswith("/Later"), (method, path, status)
        assert "Retry-After" in document(name)["components"]["responses"]["Later"]["headers"]
