"""A client whose certificate is refused in the handshake is told so by a TLS alert."""

import subprocess

import pytest
from web_pki import Authority

from conftest import Bench


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("shows", ["nothing", "a stranger's"])
def test_openssl_sees_why_it_was_refused(
    bench: Bench, maker: Authority, version: str, shows: str
) -> None:
    """Goal: on both loops it reads the alert itself and need not guess from a closed socket."""
    _, port = bench.running.server.addresses["clinical"]
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", version, "-quiet"]
    expected = "handshake failure" if version == "-tls1_2" else "certificate required"
    if shows != "nothing":
        stranger = maker.device(9)
        command += ["-cert", str(stranger.chain), "-key", str(stranger.key)]
        expected = "unknown ca"
    done = subprocess.run(command, input=b"", capture_output=True, check=False, timeout=20)
    assert f"alert {expected}" in done.stderr.decode(), done.stderr
