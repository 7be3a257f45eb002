"""The reference page and the program's tables are one."""

from pathlib import Path

from asepsis.core.mapping import nomenclature as mdc

PAGE = Path(__file__).parents[4] / "docs/reference/nomenclature.md"


def test_the_page_lists_exactly_what_the_program_knows() -> None:
    listed: dict[int, tuple[str, str]] = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        if cells[0].isdigit():
            listed[int(cells[0])] = (cells[1], cells[-1])
    rows = {**mdc.METRICS_BY_CODE, **mdc.UNITS_BY_CODE, **mdc.EVENTS_BY_CODE}
    assert listed == {code: (row.refid, row.sources) for code, row in rows.items()}


def test_every_letter_is_explained() -> None:
    text = PAGE.read_text(encoding="utf-8")
    rows = [
        *mdc.METRICS_BY_CODE.values(),
        *mdc.UNITS_BY_CODE.values(),
        *mdc.EVENTS_BY_CODE.values(),
    ]
    for letter in {letter for row in rows for letter in row.sources}:
        assert f"\n| {letter} | " in text
