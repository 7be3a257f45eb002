"""Who may load what in an image."""

import pytest

from asepsis.core.errors import ContentMismatch
from asepsis.tools.imagebuild.imports import VERIFIER, Loaded, check_imports


def loads(*modules: str) -> Loaded:
    return Loaded(modules=modules, libraries=())


def test_only_the_verifier_may_load_cryptography() -> None:
    check_imports({VERIFIER: loads("cryptography.x509"), "vitals": loads("cryptographic", "json")})
    with pytest.raises(ContentMismatch, match="network loads cryptography"):
        check_imports({"network": loads("ssl", "cryptography.hazmat.bindings")})
