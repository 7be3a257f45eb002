"""`asepsis threats import`: seeds a model from manifests, SBOMs, advisories and exploited flaws."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from asepsis.analysis.threats.file import nearest
from asepsis.analysis.threats.importing import bill, claims, exploited, source
from asepsis.analysis.threats.reading import read_text
from asepsis.analysis.threats.seeding import HEAD, Seeds, table_of
from asepsis.cli.output import console
from asepsis.cli.threats_files import read_bytes, write_report
from asepsis.core.errors import ConfigError, InputError
from asepsis.core.model.manifest_toml import read_manifest

ADVISORIES_MAX: Final = 20_000
_Each = list[str] | None


def import_(
    model: Annotated[Path, Parameter(help="The model, YAML; only read.")],
    /,
    *,
    out: Annotated[Path, Parameter(help="File of derived things to write.")],
    manifest: Annotated[_Each, Parameter(help="DEVICE=FILE: its manifest, TOML.")] = None,
    sbom: Annotated[_Each, Parameter(help="DEVICE=FILE: its SBOM, CycloneDX JSON.")] = None,
    product: Annotated[
        _Each, Parameter(help='DEVICE=WORDS: its name in advisories; makers vary: "B450".')
    ] = None,
    csaf: Annotated[Path | None, Parameter(help="Advisory or folder of them, CSAF 2.0.")] = None,
    kev: Annotated[Path | None, Parameter(help="Catalogue of exploited flaws, CISA JSON.")] = None,
    dry_run: Annotated[bool, Parameter(help="Say what is found and write nothing.")] = False,
) -> None:
    """Derive devices and services from what makers and authorities say, each with its evidence.

    Write `derived: [FILE]` into the model once; what the model says of a derived thing wins, so
    edits survive every new import. Versions in advisories are free text: compare them yourself and
    override what does not apply, with `flaws: []`.
    """
    text = read_text(read_bytes(model), name=model.name)
    known = table_of(text, "devices", text.content.get("devices") or {})
    seeds = Seeds()
    words = dict(_pairs(product, known))
    spared: dict[str, Mapping[str, str]] = {}
    for device, name in _pairs(manifest, known):
        raw = read_bytes(Path(name))
        read = read_manifest(raw, name=Path(name).name).manifest
        seeds.add_manifest(device, read, source=source(raw, name=Path(name).name))
    for device, name in _pairs(sbom, known):
        read_bill = bill(read_bytes(Path(name)), name=Path(name).name)
        seeds.add_bill(device, component=read_bill.component, source=read_bill.source)
        spared[device] = read_bill.spared
        words.setdefault(device, read_bill.words)
    listed = exploited(read_bytes(kev), name=kev.name) if kev else {}
    silent = set(words) if csaf else set[str]()
    for path in _advisories(csaf):
        raw = read_bytes(path)
        for device, meant in words.items():
            for claim in claims(raw, name=path.name, words=meant):
                silent.discard(device)
                seeds.add_claim(device, claim, kev=listed, spared=spared.get(device, {}))
    seeds.left_out += [f"{n}: no advisory names all of {words[n]!r}" for n in sorted(silent)]
    _show(seeds)
    if not dry_run:
        _check_ours(out)
        write_report(out, seeds.to_yaml())
        console.print(f"wrote {out}", markup=False, soft_wrap=True)


def _check_ours(out: Path) -> None:
    """Refuse to write over what a person wrote.

    Raises:
        ConfigError: The file is there and is none of an import.
    """
    if out.exists() and not read_bytes(out).startswith(HEAD.partition("\n")[0].encode()):
        raise ConfigError(f"{out} is no file of an import", hint="name another file")


def _show(seeds: Seeds) -> None:
    for line in seeds.left_out:
        console.print(f"left out: {line}", markup=False, soft_wrap=True)
    for name, fields in seeds.services.items():
        tail = ", exploited" if fields.get("exploited") else ""
        words = f"{name}: {', '.join(fields['flaws'])}{tail}"
        console.print(words, markup=False, soft_wrap=True)


def _pairs(words: Sequence[str] | None, known: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for word in words or ():
        device, mark, value = word.partition("=")
        if not mark or not value:
            raise InputError(f"{word!r} is not DEVICE=VALUE")
        if device not in known:
            raise InputError(f"the model has no device {device!r}", hint=nearest(device, known))
        yield device, value


def _advisories(path: Path | None) -> list[Path]:
    if path is None or not path.is_dir():
        return [path] if path else []
    try:
        found = sorted(path.rglob("*.json"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    if len(found) > ADVISORIES_MAX:
        raise InputError(f"{path}: over {ADVISORIES_MAX} advisories")
    return found
