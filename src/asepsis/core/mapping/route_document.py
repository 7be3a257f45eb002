"""What a file of routes may say: from, filter, map, to. Bounded and declarative; no scripts.

Source: own; docs/reference/routes.md.
"""

import csv
import io
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import msgspec

from asepsis.core.errors import InputError, LimitExceeded
from asepsis.core.mapping.route_draft import FIXED, target_of

FILE_BYTES_MAX: Final = 1_048_576
TABLE_BYTES_MAX: Final = 4_194_304
TABLE_ROWS_MAX: Final = 50_000
ROUTES_MAX: Final = 200
STEPS_MAX: Final = 100

Name = Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9-]{0,31}$")]
PathText = Annotated[str, msgspec.Meta(min_length=5, max_length=40)]
Value = Annotated[str, msgspec.Meta(max_length=1_000)]
Authority = Annotated[str, msgspec.Meta(max_length=120)]
SegmentName = Annotated[str, msgspec.Meta(pattern="^[A-Z][A-Z0-9]{2}$")]
TypeText = Annotated[str, msgspec.Meta(pattern=r"^[A-Z0-9]{3}\^([A-Z0-9]{3}|\*)$")]

Source = Literal["messages", "images", "observations", "alerts", "associations"]


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every part: frozen, named fields, nothing unknown."""


class Condition(_Part, frozen=True):
    """A condition on one field; every part that is given must hold.

    Attributes:
        field: Path; the first leaf of the element is compared.
        any_of: It is one of these.
        none_of: It is none of these.
        present: It is there and not empty, or it is not.
    """

    field: PathText
    any_of: Annotated[tuple[Value, ...], msgspec.Meta(max_length=1_000)] = ()
    none_of: Annotated[tuple[Value, ...], msgspec.Meta(max_length=1_000)] = ()
    present: bool | None = None


class Filter(_Part, frozen=True):
    """Which messages a route takes; an empty list takes every one.

    Attributes:
        types: MSH-9.1 and MSH-9.2 such as `ORU^R01`; `ADT^*` takes every event.
        sources: `urn:uuid:` names of the gateways that brought it.
        peers: Names of the gateways' peers that sent it.
        where: Conditions; all must hold.
    """

    types: Annotated[tuple[TypeText, ...], msgspec.Meta(max_length=256)] = ()
    sources: Annotated[tuple[str, ...], msgspec.Meta(max_length=256)] = ()
    peers: Annotated[tuple[str, ...], msgspec.Meta(max_length=256)] = ()
    where: Annotated[tuple[Condition, ...], msgspec.Meta(max_length=64)] = ()


class Copy(_Part, frozen=True, tag_field="do", tag="copy", rename={"source": "from"}):
    """Copy an element, escaped as it stands, to another place.

    Attributes:
        source: `from`: path.
        to: Path. With `[*]` as segment number in both, within each segment of that name.
    """

    source: PathText
    to: PathText

    def written(self) -> tuple[str, ...]:
        """Return the paths that it writes; raises InputError where the rest of it is wrong."""
        source, to = target_of(self.source), target_of(self.to)
        if source.occurrence == 0 and (to.occurrence or source.segment != to.segment):
            raise InputError("a copy from every segment goes to the same segments: [*] in both")
        return (self.to,)


class Set(_Part, frozen=True, tag_field="do", tag="set"):
    """Write a constant.

    Attributes:
        field: Path.
        value: Text.
    """

    field: PathText
    value: Value

    def written(self) -> tuple[str, ...]:
        """Return the paths that it writes; raises InputError where the rest of it is wrong."""
        return (self.field,)


class Remove(_Part, frozen=True, tag_field="do", tag="remove"):
    """Empty an element, or take out every segment of a name.

    Attributes:
        field: Path; or
        segment: Name of the segments, not MSH.
    """

    field: PathText | None = None
    segment: SegmentName | None = None

    def written(self) -> tuple[str, ...]:
        """Return the paths that it writes; raises InputError where the rest of it is wrong."""
        if (self.field is None) == (self.segment is None) or self.segment == "MSH":
            raise InputError("remove names a field, or a segment other than MSH")
        return (self.field,) if self.field else ()


class Table(_Part, frozen=True, tag_field="do", tag="table", rename={"value": "to"}):
    """Translate codes by a table.

    Attributes:
        field: Path of the code.
        file: CSV file beside the routes, with a line of column names.
        key: Column that is looked up.
        value: `to`: column that is written.
        also: Further paths to write, with their columns.
        missing: For a code that the table lacks: `keep` it, `clear` the element, or `refuse` the
            message.
    """

    field: PathText
    file: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,59}\.csv$")]
    key: Annotated[str, msgspec.Meta(min_length=1, max_length=60)]
    value: Annotated[str, msgspec.Meta(min_length=1, max_length=60)]
    also: Annotated[dict[str, str], msgspec.Meta(max_length=16)] = {}
    missing: Literal["keep", "clear", "refuse"] = "refuse"

    def written(self) -> tuple[str, ...]:
        """Return the paths that it writes; raises InputError where the rest of it is wrong."""
        return (self.field, *self.also)


class IdentifierDomain(
    _Part,
    frozen=True,
    tag_field="do",
    tag="identifier-domain",
    rename={"source": "from"},
):
    """Rewrite the assigning authority (CX.4) of identifiers.

    Attributes:
        source: `from`: namespace of CX.4.1, or its universal id, as it comes.
        to: Namespace to write.
        universal_id: CX.4.2 to write; with its type.
        universal_id_type: CX.4.3 to write.
        field: A field of type CX.
        drop_others: Whether identifiers of other authorities are left out.
    """

    source: Authority
    to: Authority
    universal_id: Authority = ""
    universal_id_type: Annotated[str, msgspec.Meta(max_length=10)] = ""
    field: PathText = "PID-3"
    drop_others: bool = False

    def written(self) -> tuple[str, ...]:
        """Return the paths that it writes; raises InputError where the rest of it is wrong."""
        if target_of(self.field).component:
            raise InputError("identifier-domain names a field, not a component")
        return (self.field,)


class AddSegment(_Part, frozen=True, tag_field="do", tag="add-segment"):
    """Write a segment of one's own.

    Attributes:
        segment: Its name; begins with Z.
        after: Name of the segment behind which it stands, the last of that name.
        values: Field number -> text.
        copies: Field number -> path whose element is copied.
    """

    segment: Annotated[str, msgspec.Meta(pattern="^Z[A-Z0-9]{2}$")]
    after: SegmentName = "PID"
    values: Annotated[dict[str, Value], msgspec.Meta(max_length=100)] = {}
    copies: Annotated[dict[str, PathText], msgspec.Meta(max_length=100)] = {}

    def written(self) -> tuple[str, ...]:
        """Return the paths that it writes; raises InputError where the rest of it is wrong."""
        _check_numbers([*self.values, *self.copies])
        for path in self.copies.values():
            target_of(path)
        return ()


class Split(_Part, frozen=True, tag_field="do", tag="split"):
    """Make one message for each order: for each OBR with the ORC before it.

    Attributes:
        segment: What a group begins with. What stands before the first group is repeated, and
            MSH-10 gets `.1`, `.2`.
    """

    segment: Literal["OBR"] = "OBR"

    def written(self) -> tuple[str, ...]:
        """Return the paths that it writes; raises InputError where the rest of it is wrong."""
        return ()


Step = Copy | Set | Remove | Table | IdentifierDomain | AddSegment | Split


class Sampling(_Part, frozen=True):
    """One message a minute for each patient, device and order, for one destination.

    Attributes:
        to: Destination.
        keep: The last message of the minute, or the last with the (lower) median of each number.
    """

    to: Name
    keep: Literal["last", "median"] = "last"


class RouteDocument(_Part, frozen=True, rename={"origin": "from"}):
    """One route.

    Attributes:
        name: For people, letters and figures.
        to: Names of destinations.
        origin: `from`: `messages` or `images` that others sent, or `observations`, `alerts` or
            `associations`, of which the hub writes messages.
        filter: What it takes.
        map: What it changes, in order.
        sampling: Where fewer messages go.
        on_refused: `stop` the line of the destination until a person decides, or `step-over`: the
            message is a dead letter and the line goes on. By default ADT stops.
    """

    name: Name
    to: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1, max_length=32)]
    origin: Source = "messages"
    filter: Filter = Filter()
    map: Annotated[tuple[Step, ...], msgspec.Meta(max_length=STEPS_MAX)] = ()
    sampling: tuple[Sampling, ...] = ()
    on_refused: Literal["stop", "step-over"] | None = None


class _File(_Part, frozen=True):
    routes: Annotated[tuple[RouteDocument, ...], msgspec.Meta(max_length=ROUTES_MAX)] = ()


CodeTable = Mapping[str, Mapping[str, str]]
"""Key -> column -> value."""
ReadTable = Callable[[str], bytes]
"""Given the name of a CSV file, returns its bytes; raises an AsepsisError."""


@dataclass(frozen=True, slots=True)
class RouteFile:
    """A file of routes with its tables.

    Attributes:
        routes: In the order of the file.
        tables: Code tables by file name and key column.
    """

    routes: tuple[RouteDocument, ...]
    tables: Mapping[tuple[str, str], CodeTable]


def read_routes(data: bytes, *, read_table: ReadTable) -> RouteFile:
    """Read and check a file of routes.

    Args:
        data: TOML.
        read_table: Finds the CSV files that the routes name.

    Raises:
        InputError: No TOML, an unknown key, a path that is none, or a table that lacks a column.
        LimitExceeded: Larger than a file or table may be.
    """
    if len(data) > FILE_BYTES_MAX:
        raise LimitExceeded(f"a file of routes has at most {FILE_BYTES_MAX} bytes")
    try:
        found = msgspec.convert(tomllib.loads(data.decode()), _File)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise InputError(f"routes: {error}", hint="see docs/reference/routes.md") from error
    names = [route.name for route in found.routes]
    if len(set(names)) != len(names):
        raise InputError("routes: two routes have one name")
    tables: dict[tuple[str, str], CodeTable] = {}
    for route in found.routes:
        _check(route)
        for step in route.map:
            if isinstance(step, Table) and (step.file, step.key) not in tables:
                tables[step.file, step.key] = read_csv(read_table(step.file), key=step.key)
            if isinstance(step, Table):
                _check_columns(step, tables[step.file, step.key])
    return RouteFile(found.routes, tables)


def read_csv(data: bytes, *, key: str) -> CodeTable:
    """Read a code table: RFC 4180, UTF-8, a line of column names first.

    Args:
        data: The file.
        key: Column whose values are looked up; each stands once.

    Raises:
        InputError: No CSV, no such column, or a key that stands twice.
        LimitExceeded: More than `TABLE_ROWS_MAX` rows or `TABLE_BYTES_MAX` bytes.

    Source: RFC 4180.
    """
    if len(data) > TABLE_BYTES_MAX:
        raise LimitExceeded(f"a code table has at most {TABLE_BYTES_MAX} bytes")
    table: dict[str, Mapping[str, str]] = {}
    try:
        reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        if key not in (reader.fieldnames or ()):
            raise InputError(f"a code table has no column {key!r}")
        for row in reader:
            if None in row or None in row.values():
                raise InputError(f"line {reader.line_num} of a code table has another width")
            if row[key] in table:
                raise InputError(f"line {reader.line_num} of a code table repeats its key")
            table[row[key]] = row
            if len(table) > TABLE_ROWS_MAX:
                raise LimitExceeded(f"a code table has at most {TABLE_ROWS_MAX} rows")
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError("a code table is no CSV in UTF-8") from error
    return table


def _check(route: RouteDocument) -> None:
    if route.origin == "images" and (route.map or route.sampling or route.filter != Filter()):
        raise InputError(f"route {route.name}: images are neither filtered, mapped nor sampled")
    if route.origin in ("alerts", "associations") and route.sampling:
        raise InputError(f"route {route.name}: {route.origin} are never sampled")
    for one in route.sampling:
        if one.to not in route.to:
            raise InputError(f"route {route.name}: samples for {one.to}, which is not in its `to`")
    try:
        for condition in route.filter.where:
            target_of(condition.field)
        for step in route.map:
            _check_step(step)
    except InputError as error:
        raise InputError(f"route {route.name}: {error}", hint=error.hint) from error


def _check_step(step: Step) -> None:
    for path in step.written():
        target = target_of(path)
        if (target.segment, target.field) in FIXED:
            raise InputError(f"{path} cannot be changed", hint="delimiters and character set")


def _check_numbers(numbers: list[str]) -> None:
    if not numbers or len(set(numbers)) != len(numbers):
        raise InputError("a segment needs fields, each once")
    for number in numbers:
        if not (number.isascii() and number.isdigit() and 1 <= int(number) <= 199):
            raise InputError(f"{number!r} is no field number from 1 to 199")


def _check_columns(step: Table, table: CodeTable) -> None:
    columns = set(next(iter(table.values()), dict[str, str]()))
    for column in (step.value, *step.also.values()):
        if table and column not in columns:
            raise InputError(f"{step.file} has no column {column!r}")
