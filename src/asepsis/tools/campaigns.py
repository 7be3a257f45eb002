"""What commands ask a hub about campaigns, the fleet and work orders, as one person."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, cast
from urllib.parse import quote

from asepsis.core.errors import InputError, LimitExceeded
from asepsis.tools.people import PeopleClient

FLEET_COLUMNS: Final = ("device", "class", "ward", "calendar", "in_service")
ORDER_COLUMNS: Final = (
    "id", "campaign", "device", "kind", "opened_ns", "as_found", "as_left", "reference",
    "closed_ns", "person",
)  # fmt: skip
ROWS_MAX: Final = 200_000
LISTED_MAX: Final = 1_000
"""Devices in one request."""
_SERVICE: Final = {"": True, "true": True, "false": False}

Row = dict[str, Any]


class CampaignClient:
    """Asks and decides.

    Args:
        people: Speaks for the person.
    """

    def __init__(self, people: PeopleClient) -> None:
        self._people = people

    def campaigns(self) -> list[Row]:
        """Return every campaign, newest first."""
        return cast("list[Row]", self._people.get("/api/campaigns")["campaigns"])

    def campaign(self, name: str) -> Row:
        """Return how one stands."""
        return cast("Row", self._people.get(_path(name)))

    def create(self, document: str) -> str:
        """Keep a campaign as a draft; return its name."""
        body = {"document": document}
        return cast("str", self._people.post("/api/campaigns", body)["name"])

    def plan(self, name: str) -> list[Row]:
        """Return who would get what when, and why not now."""
        return self._pages(_path(name, "plan"))

    def hunt(self, name: str) -> list[Row]:
        """Return devices that were not seen."""
        return cast("list[Row]", self._people.get(_path(name, "hunt"))["devices"])

    def order(self, name: str, order: str, *, reason: str = "") -> str:
        """Start, pause, resume or halt a campaign; return how it stands then."""
        body = {"order": order, "reason": reason}
        return cast("str", self._people.post(_path(name, "order"), body)["state"])

    def supersede(self, name: str, *, by: str) -> None:
        """End a campaign and start the draft that takes its place."""
        self._people.post(_path(name, "supersede"), {"by": by})

    def roll_back(self, name: str, *, to: str, reason: str, wave: int | None) -> str:
        """End a campaign and bring its devices to another release; return who does it."""
        body: Row = {"to": to, "reason": reason} | ({} if wave is None else {"wave": wave})
        return cast("str", self._people.post(_path(name, "rollback"), body)["name"])

    def propose_emergency(self, name: str, *, reason: str) -> int:
        """Say, as the first person, that it must skip windows and waves."""
        body = {"reason": reason}
        return cast("int", self._people.post(_path(name, "emergency"), body)["proposal"])

    def confirm_emergency(self, name: str, proposal: int) -> None:
        """Confirm, as the second person."""
        self._people.post(_path(name, "emergency/confirm"), {"proposal": proposal})

    def about(self, name: str, device: str, act: str, **words: str) -> None:
        """Accept a device, try it again or leave it out."""
        self._people.post(_path(name, "devices"), {"device": device, "act": act, **words})

    def fleet(self) -> list[Row]:
        """Return the whole fleet."""
        return self._pages("/api/fleet")

    def list_fleet(self, devices: Sequence[Mapping[str, Any]]) -> None:
        """Note devices, in requests that a hub takes."""
        for start in range(0, len(devices), LISTED_MAX):
            some = [dict(one) for one in devices[start : start + LISTED_MAX]]
            self._people.post("/api/fleet", {"devices": some})

    def calendars(self) -> Row:
        """Return every calendar, and where it holds."""
        return cast("Row", self._people.get("/api/fleet/calendars"))

    def put_calendar(self, document: str) -> str:
        """Keep a calendar; return its name."""
        body = {"document": document}
        return cast("str", self._people.post("/api/fleet/calendars", body)["name"])

    def use_calendars(self, ward: str, names: Sequence[str]) -> None:
        """Say which calendars hold for a ward, or with "" for the whole site."""
        body = {"ward": ward, "calendars": list(names)}
        self._people.post("/api/fleet/calendars/use", body)

    def work_orders(self, *, campaign: str = "", open_only: bool = False) -> list[Row]:
        """Return work orders, newest first."""
        query = {"campaign": campaign} if campaign else {}
        query |= {"open": "true"} if open_only else {}
        return cast("list[Row]", self._people.get("/api/work-orders", **query)["work_orders"])

    def close_order(self, number: int, *, as_found: str, as_left: str) -> None:
        """Close a work order."""
        body = {"as_found": as_found, "as_left": as_left}
        self._people.post(f"/api/work-orders/{number}/close", body)

    def refer_order(self, number: int, reference: str) -> None:
        """Note its number in the hospital's own system."""
        self._people.post(f"/api/work-orders/{number}/reference", {"reference": reference})

    def take_orders(self, rows: Iterable[Mapping[str, str]]) -> tuple[int, int]:
        """Take work orders as another system returned them; return how many noted and closed.

        Raises:
            InputError: A row without number.
        """
        known = {one["id"]: one for one in self.work_orders()}
        noted = closed = 0
        for row in rows:
            if not row.get("id", "").isdigit() or int(row["id"]) not in known:
                raise InputError(f"there is no work order {row.get('id', '')!r}")
            here = known[int(row["id"])]
            if row.get("reference") and row["reference"] != here["reference"]:
                self.refer_order(here["id"], row["reference"])
                noted += 1
            if row.get("as_left") and not here["closed_ns"]:
                as_found = row.get("as_found") or "not said"
                self.close_order(here["id"], as_found=as_found, as_left=row["as_left"])
                closed += 1
        return noted, closed

    def _pages(self, path: str) -> list[Row]:
        page = self._people.get(path)
        found: list[Row] = page["devices"]
        while page["next"] is not None:
            page = self._people.get(path, after=page["next"])
            found += page["devices"]
        return found


def read_csv(text: str) -> list[dict[str, str]]:
    """Return the rows of a CSV file with a line of names.

    Raises:
        InputError: A row that is longer or shorter than the names.
        LimitExceeded: More than `ROWS_MAX` rows.
    """
    found: list[dict[str, str]] = []
    for row in csv.DictReader(io.StringIO(text), restkey="", restval=""):
        if "" in row:
            raise InputError("a row has more cells than there are names in the first line")
        if len(found) >= ROWS_MAX:
            raise LimitExceeded(f"a file has at most {ROWS_MAX} rows")
        found.append({key: value.strip() for key, value in row.items()})
    return found


def read_fleet(text: str) -> list[Row]:
    """Return devices of a CSV file; columns beyond `FLEET_COLUMNS` become attributes.

    Raises:
        InputError: No column `device` or `class`, or a value that is none.
    """
    found: list[Row] = []
    for row in read_csv(text):
        if not row.get("device") or "class" not in row:
            raise InputError("a fleet names at least `device` and `class` of each device")
        service = row.get("in_service", "").lower()
        if service not in _SERVICE:
            raise InputError("in_service is true or false")
        found.append(
            {
                "device": row["device"],
                "class": row["class"],
                "ward": row.get("ward", ""),
                "calendar": row.get("calendar", ""),
                "in_service": _SERVICE[service],
                "attributes": {k: v for k, v in row.items() if k not in FLEET_COLUMNS and v},
            }
        )
    return found


def write_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as CSV with a line of names; a cell never begins a formula in a spreadsheet."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row.get(column, "")) for column in columns])
    return out.getvalue()


def _cell(value: object) -> str:
    text = str(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t") else text


def _path(name: str, rest: str = "") -> str:
    base = f"/api/campaigns/{quote(name, safe='')}"
    return f"{base}/{rest}" if rest else base
