"""`asepsis destinations`: where data may leave to; they exist only by an administrator's entry."""

from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

from cyclopts import App, Parameter

from asepsis.cli.associations import Token, Yes
from asepsis.cli.data import DATA, Data
from asepsis.cli.devices import people
from asepsis.cli.output import console, show_facts, show_json, show_table
from asepsis.core.errors import InputError

app: Final = App(name="destinations", help="See and decide where data may leave to.")
COLUMNS: Final = ("name", "kind", "address", "behind", "waiting", "accepted", "refused", "state")
PATH: Final = "/api/destinations"


@app.command(name="list")
def list_destinations(*, token: Token = None, data: Data = DATA, json: bool = False) -> None:
    """Show every destination, how far it is, and why nothing goes where nothing goes."""
    with closing(people(data, token=token)) as here:
        found = here.get(PATH)["destinations"]
    if json:
        show_json(found)
        return
    show_table("Destinations", COLUMNS, [_row(one) for one in found])


@app.command
def add(
    name: str,
    /,
    *,
    kind: Annotated[
        Literal["mllp", "gateway", "fhir", "rest-hook", "stow"],
        Parameter(help="How it is reached; stow is a PACS with DICOMweb."),
    ],
    address: Annotated[str, Parameter(help="host:port, or the URL of a FHIR server or PACS.")] = "",
    gateway: Annotated[str, Parameter(help="urn:uuid: name of the gateway that fetches.")] = "",
    consumer: Annotated[str, Parameter(help="urn:uuid: name of who may subscribe.")] = "",
    partner: Annotated[str, Parameter(help="Second gateway of the pair.")] = "",
    carries: Annotated[
        Literal["messages", "images", "observations", "alerts", "associations"],
        Parameter(help="What goes there; the hub writes messages of the last three."),
    ] = "messages",
    chart: Annotated[bool, Parameter(help="It is a chart: unverified values are held back.")] = (
        False
    ),
    server_name: Annotated[str, Parameter(help="Name in the receiver's certificate.")] = "",
    ca_file: Annotated[Path | None, Parameter(help="CA of that certificate, PEM.")] = None,
    client_certificate: Annotated[bool, Parameter(help="Show the hub's own certificate.")] = True,
    bearer_file: Annotated[Path | None, Parameter(help="File with a FHIR server's token.")] = None,
    in_flight: Annotated[
        int, Parameter(help="Messages, or instances of a request, before an answer.")
    ] = 1,
    commit: Annotated[
        bool | None,
        Parameter(help="An image counts once the archive committed it; default for stow: yes."),
    ] = None,
    title: Annotated[str, Parameter(help="AE title that modalities are told of.")] = "",
    answer_s: Annotated[float, Parameter(help="Longest wait for an answer, seconds.")] = 30.0,
    tries: Annotated[int, Parameter(help="How often AE or CE is tried before it counts.")] = 3,
    from_start: Annotated[bool, Parameter(help="Begin with what the journal still holds.")] = False,
    local: Annotated[
        bool, Parameter(help="Permit loopback and the hub's own networks: demonstration only.")
    ] = False,
    token: Token = None,
    data: Data = DATA,
    json: bool = False,
) -> None:
    """Enter a destination; routes may name it from now on. The entry is audited."""
    options = {
        "carries": carries,
        "chart": chart,
        "gateway": gateway,
        "partner": partner,
        "consumer": consumer,
        "server_name": server_name,
        "ca_pem": _text(ca_file),
        "client_certificate": client_certificate,
        "bearer": _text(bearer_file).strip(),
        "in_flight": in_flight,
        "commit": commit,
        "title": title,
        "answer_s": answer_s,
        "tries": tries,
        "from_start": from_start,
        "local": local,
    }
    body = {"name": name, "kind": kind, "address": address, "options": options}
    with closing(people(data, token=token)) as here:
        made = here.post(PATH, body)
    if json:
        show_json(made)
    else:
        console.print(f"{name} is entered; a route may name it now", markup=False)


def _text(file: Path | None) -> str:
    """Return what a file says; nothing without one.

    Raises:
        InputError: It cannot be read.
    """
    try:
        return file.read_text("ascii") if file is not None else ""
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {file}") from error


@app.command
def remove(
    name: str, /, *, token: Token = None, yes: Yes = False, data: Data = DATA, json: bool = False
) -> int:
    """End a destination: what waits for it is not delivered; its dead letters stay."""
    path = f"{PATH}/{quote(name, safe='')}/remove"
    with closing(people(data, token=token)) as here:
        if not yes:
            shown = here.post(path, {})["destination"]
            show_facts(f"Removing {name}", dict(zip(COLUMNS[1:], _row(shown)[1:], strict=True)))
            if console.input("Type the destination's name to go on: ").strip() != name:
                console.print("nothing was changed")
                return 1
        outcome = here.post(path, {"confirm": name})
    if json:
        show_json(outcome)
    else:
        console.print(f"{name} is removed", markup=False)
    return 0


@app.command(name="test")
def probe(name: str, /, *, token: Token = None, data: Data = DATA, json: bool = False) -> int:
    """Let the hub connect to a destination and hang up; nothing is sent. Exit code 4 if not."""
    with closing(people(data, token=token)) as here:
        found = here.post(f"{PATH}/{quote(name, safe='')}/test", {})
    if json:
        show_json(found)
    else:
        word = {True: "is reached", False: "is NOT reached", None: "is not dialled"}
        console.print(f"{name} {word[found['reached']]} {found['why']}", markup=False)
    return 4 if found["reached"] is False else 0


def _row(one: dict[str, Any]) -> list[str]:
    state = "STANDS STILL" if one["stands_still"] else one["trouble"] or "goes"
    flags = [word for word in ("chart", "local") if one[word]]
    return [
        one["name"],
        " ".join([one["kind"], *flags]),
        one["address"] or one["gateway"],
        str(one["records_behind"]),
        str(one["waiting"]),
        str(one["accepted"]),
        str(one["refused"]),
        state,
    ]
