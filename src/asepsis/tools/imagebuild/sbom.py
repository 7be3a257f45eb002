"""Writes what an image is made of as CycloneDX, in a form that two builds make alike.

Source: CycloneDX 1.6 (ECMA-424); Package URL, type `deb`; CPE 2.3.
"""

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from asepsis.tools.imagebuild.debian import Package

_NAMESPACE: Final = uuid.UUID("0c6c2c3e-39a3-4d4d-8f3c-3e1b7f5d2a10")


def upstream(version: str) -> str:
    """Return the upstream part of a Debian version: `1:3.0.22-1~deb12u2` is `3.0.22`."""
    bare = version.partition(":")[2] or version
    return bare.rpartition("-")[0].partition("+dfsg")[0].partition(".dfsg")[0] or bare


def make_sbom(
    packages: Sequence[Package],
    *,
    name: str,
    version: str,
    suite: str,
    epoch: int,
    image_sha256: str,
    cpe: Mapping[str, str],
) -> bytes:
    """Return the document, JSON.

    Args:
        packages: Every package that a file of the image comes from.
        name: Of the image.
        version: Of our own code.
        suite: Debian release.
        epoch: Time of the build, seconds since 1970.
        image_sha256: Of the root.
        cpe: Vendor and product by source package, as advisories outside of Debian name it.
    """
    components = [
        _component(package, suite, cpe) for package in sorted(packages, key=lambda p: p.name)
    ]
    ours = f"pkg:pypi/asepsis@{version}"
    components.append(
        {
            "type": "application",
            "bom-ref": ours,
            "name": "asepsis",
            "version": version,
            "licenses": [{"license": {"id": "Apache-2.0"}}],
            "purl": ours,
        }
    )
    subject = f"{name}@{image_sha256[:16]}"
    document: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        # Random in other documents; here two builds must give the same bytes.
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, image_sha256 + name)}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(epoch, UTC).isoformat().replace("+00:00", "Z"),
            "component": {
                "type": "firmware",
                "bom-ref": subject,
                "name": name,
                "version": version,
                "hashes": [{"alg": "SHA-256", "content": image_sha256}],
            },
            "properties": [{"name": "asepsis:debian:suite", "value": suite}],
        },
        "components": components,
        "dependencies": [
            {"ref": subject, "dependsOn": sorted(c["bom-ref"] for c in components)},
        ],
    }
    return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()


def _component(package: Package, suite: str, cpe: Mapping[str, str]) -> dict[str, Any]:
    purl = f"pkg:deb/debian/{quote(package.name, safe='')}@{quote(package.version, safe='')}"
    purl += f"?arch=amd64&distro={suite}"
    found: dict[str, Any] = {
        "type": "operating-system" if package.source.startswith("linux") else "library",
        "bom-ref": purl,
        "name": package.name,
        "version": package.version,
        "supplier": {"name": package.maintainer.partition(" <")[0] or "Debian"},
        "purl": purl,
        "hashes": [{"alg": "SHA-256", "content": package.sha256}],
        "properties": [
            {"name": "asepsis:debian:source", "value": package.source},
            {"name": "asepsis:debian:source-version", "value": package.source_version},
        ],
    }
    if package.source in cpe:
        part = "o" if package.source.startswith("linux") else "a"
        number = upstream(package.source_version)
        found["cpe"] = f"cpe:2.3:{part}:{cpe[package.source]}:{number}:*:*:*:*:*:*:*"
    return found


def sha256_of(data: bytes) -> str:
    """Return the SHA-256 of bytes, hexadecimal."""
    return hashlib.sha256(data).hexdigest()
