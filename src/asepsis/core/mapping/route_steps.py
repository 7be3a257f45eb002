"""What each step of a route does to a message. Pure; the number of steps bounds the work.

Source: own; docs/reference/routes.md; HL7 v2.8.2 section 2A.14 (CX) for identifier domains.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from asepsis.core.errors import InputError, LimitExceeded
from asepsis.core.mapping.route_document import (
    AddSegment,
    CodeTable,
    Copy,
    IdentifierDomain,
    Remove,
    Set,
    Split,
    Step,
    Table,
)
from asepsis.core.mapping.route_draft import Draft, single, target_of
from asepsis.core.wire.hl7_text import escape, text_of

PARTS_MAX: Final = 250
"""Messages that one message may be split into."""
CONTROL_ID: Final = target_of("MSH-10")
_AUTHORITY: Final = 4
Tables = Mapping[tuple[str, str], CodeTable]


def apply(step: Step, drafts: Sequence[Draft], *, tables: Tables) -> list[Draft]:
    """Do one step with every draft; return them, more after a split.

    Args:
        step: Checked by `read_routes`.
        drafts: Changed in place.
        tables: Code tables by file and key column.

    Raises:
        InputError: A value cannot be read or written, or a code is missing from its table.
        LimitExceeded: A split into more than `PARTS_MAX` messages.
    """
    if isinstance(step, Split):
        found = [part for draft in drafts for part in split(draft, step)]
        if len(found) > PARTS_MAX:
            raise LimitExceeded(f"a message splits into more than {PARTS_MAX}")
        return found
    for draft in drafts:
        _change(step, draft, tables)
    return list(drafts)


def _change(step: Step, draft: Draft, tables: Tables) -> None:
    match step:
        case Copy():
            _copy(step, draft)
        case Set():
            draft.write(target_of(step.field), step.value)
        case Remove():
            _remove(step, draft)
        case Table():
            _translate(step, draft, tables[step.file, step.key])
        case IdentifierDomain():
            _rewrite_domain(step, draft)
        case AddSegment():
            _add_segment(step, draft)
        case Split():
            raise AssertionError("a split makes several drafts")


def _copy(step: Copy, draft: Draft) -> None:
    source, to = target_of(step.source), target_of(step.to)
    if source.occurrence:
        draft.write_raw(to, draft.raw(source))
        return
    for number in range(1, len(list(draft.places(source))) + 1):
        draft.write_raw(single(to, number), draft.raw(single(source, number)))


def _remove(step: Remove, draft: Draft) -> None:
    if step.field is not None:
        draft.write_raw(target_of(step.field), b"")
        return
    name = (step.segment or "").encode()
    draft.segments[:] = [segment for segment in draft.segments if segment[0] != name]


def _translate(step: Table, draft: Draft, table: CodeTable) -> None:
    target = target_of(step.field)
    count = len(list(draft.places(target)))
    numbers = range(1, count + 1) if target.occurrence == 0 else (target.occurrence,)
    for number in numbers:
        one = single(target, number)
        code = draft.read(one)
        if not code:
            continue
        row = table.get(code)
        if row is None:
            _missing(step, draft, number)
            continue
        draft.write(one, row[step.value])
        for path, column in step.also.items():
            also = target_of(path)
            same = also.segment == target.segment and also.occurrence == 0
            draft.write(single(also, number) if same else also, row[column])


def _missing(step: Table, draft: Draft, number: int) -> None:
    if step.missing == "refuse":
        raise InputError(
            f"{step.field}: its code is not in {step.file}", hint="add the code to the table"
        )
    if step.missing == "clear":
        draft.write_raw(single(target_of(step.field), number), b"")


def _rewrite_domain(step: IdentifierDomain, draft: Draft) -> None:
    target = target_of(step.field)
    for index in draft.places(target):
        segment, place = draft.segments[index], draft.place(index, target.field)
        if place >= len(segment) or not segment[place]:
            continue
        mark = draft.delimiters.repetition
        rewritten = [_identifier(step, draft, one) for one in segment[place].split(mark)]
        segment[place] = mark.join(one for one in rewritten if one is not None)


def _identifier(step: IdentifierDomain, draft: Draft, identifier: bytes) -> bytes | None:
    """Return one CX with its authority rewritten; None for one that is left out."""
    delimiters = draft.delimiters
    parts = identifier.split(delimiters.component)
    authority = parts[_AUTHORITY - 1] if len(parts) >= _AUTHORITY else b""
    marks = authority.split(delimiters.subcomponent) if delimiters.subcomponent else [authority]
    names = [text_of(part, delimiters, draft.codec) for part in marks[:2]]
    if step.source not in [name for name in names if name or not step.source]:
        return None if step.drop_others else identifier
    wanted = (step.to, step.universal_id, step.universal_id_type)
    written = [escape(text, delimiters, draft.codec) for text in wanted]
    if any(written[1:]) and not delimiters.subcomponent:
        raise InputError("MSH-2 of the message names no separator for subcomponents")
    parts += [b""] * (_AUTHORITY - len(parts))
    mark = delimiters.subcomponent
    parts[_AUTHORITY - 1] = mark.join(written).rstrip(mark) if mark else written[0]
    return delimiters.component.join(parts)


def _add_segment(step: AddSegment, draft: Draft) -> None:
    fields = {
        int(number): escape(text, draft.delimiters, draft.codec)
        for number, text in step.values.items()
    }
    fields |= {int(number): draft.raw(target_of(path)) for number, path in step.copies.items()}
    made = [step.segment.encode(), *(fields.get(n, b"") for n in range(1, max(fields) + 1))]
    after = step.after.encode()
    places = [i for i, segment in enumerate(draft.segments) if segment[0] == after]
    draft.segments.insert(places[-1] + 1 if places else len(draft.segments), made)


def split(draft: Draft, step: Split) -> list[Draft]:
    """Return one draft for each group; the draft itself where there is at most one group.

    Source: HL7 v2.8.2 section 7.3.1 (ORU: order observation groups begin with ORC or OBR).
    """
    name = step.segment.encode()
    starts = [i for i, segment in enumerate(draft.segments) if segment[0] == name]
    if len(starts) <= 1:
        return [draft]
    starts = [i - 1 if draft.segments[i - 1][0] == b"ORC" else i for i in starts]
    head = draft.segments[: starts[0]]
    ends = [*starts[1:], len(draft.segments)]
    control_id = draft.read(CONTROL_ID)
    made: list[Draft] = []
    for number, (start, end) in enumerate(zip(starts, ends, strict=True), 1):
        part = draft.copy([*head, *draft.segments[start:end]])
        part.write(CONTROL_ID, f"{control_id}.{number}")
        made.append(part)
    return made
