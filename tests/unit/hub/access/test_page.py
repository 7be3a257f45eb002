"""docs/reference/access.md says what the table says."""

from pathlib import Path

from asepsis.core.model.identity import PrincipalKind
from asepsis.hub.access.principal import Role
from asepsis.hub.access.rules import MACHINES, PEOPLE, RENEWAL_ONLY, Action

PAGE = Path(__file__).parents[4] / "docs" / "reference" / "access.md"
COLUMNS = {
    "device": MACHINES[PrincipalKind.DEVICE],
    "gateway": MACHINES[PrincipalKind.GATEWAY],
    "consumer": MACHINES[PrincipalKind.CONSUMER],
    "IDevID": MACHINES[PrincipalKind.IDEVID],
    "nobody": MACHINES[PrincipalKind.ANONYMOUS],
    "server": MACHINES[PrincipalKind.SERVER],
    "update client": MACHINES[PrincipalKind.UPDATE_CLIENT],
    "expired or unrecorded": RENEWAL_ONLY,
} | {role.value: PEOPLE[role] for role in Role}


def tables() -> dict[str, set[str]]:
    """Return column -> actions with a yes, over all tables whose first column is the action."""
    found: dict[str, set[str]] = {}
    header: list[str] = []
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if cells and cells[0] == "action":
            header = cells[1:]
        elif not cells:
            header = []
        elif header and cells[0] in set(Action):
            for column, cell in zip(header, cells[1:], strict=True):
                found.setdefault(column, set())
                if cell == "yes":
                    found[column].add(cells[0])
    return found


def test_the_page_and_the_table_agree() -> None:
    page = tables()
    assert set(page) == set(COLUMNS)
    for column, actions in COLUMNS.items():
        assert page[column] == set(actions), column
