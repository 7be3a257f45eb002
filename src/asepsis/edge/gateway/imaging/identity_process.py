"""The prover as a process of its own: it has the keys that judge users, and no network.

What it parses, tickets, assertions and tokens, strangers wrote; so it holds nothing else.
"""

import os
import signal
import socket
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from asepsis.core.errors import AsepsisError
from asepsis.edge.gateway import confinement
from asepsis.edge.gateway.imaging import channel
from asepsis.edge.gateway.imaging.kerberos import KerberosJudge
from asepsis.edge.gateway.imaging.proofs import Judge, Judges, JwtJudge, PasscodeJudge
from asepsis.edge.gateway.imaging.prover import PACKET_BYTES_MAX, Judgement, Question
from asepsis.edge.gateway.imaging.saml import SamlJudge
from asepsis.edge.gateway.imaging.settings import IdentitySettings
from asepsis.edge.sandbox import bubblewrap
from asepsis.edge.sandbox.confine import Confinement, Limits, confine
from asepsis.edge.sandbox.seccomp import SyscallClass

MEMORY_MIB: Final = 1_024
FILES: Final = 32
_KERBEROS_FILES: Final = ("/etc/krb5.conf", "/etc/krb5.conf.d", "/etc/gss")
_QUESTION: Final = msgspec.json.Decoder(Question)


def serve(settings: IdentitySettings, parser: socket.socket, *, folder: Path) -> None:
    """Judge proofs for the parser until it is gone; call in a process of its own.

    Args:
        settings: The section.
        parser: Conversation with the parser.
        folder: Made if absent; where tickets that were seen are remembered.

    Raises:
        ConfigError: A key or file does not load.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # It ends when the parser does.
        signal.signal(number, signal.SIG_IGN)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    judges = judges_of(settings, folder=folder)
    confinement.preload()
    confine(order(settings, folder))
    parser.send(channel.READY)
    while data := _receive(parser):
        answer = _answer(judges, data)
        try:
            parser.send(msgspec.json.encode(answer))
        except OSError:
            return


def judges_of(settings: IdentitySettings, *, folder: Path) -> Judges:
    """Return the judges that the settings name.

    Raises:
        ConfigError: A key or file does not load.
    """
    judges: dict[str, Judge] = {}
    skew_s = settings.clock_skew_s
    if settings.passcode_file:
        judges["passcode"] = PasscodeJudge(Path(settings.passcode_file))
    if settings.jwt is not None:
        judges["jwt"] = JwtJudge(settings.jwt, skew_s=skew_s)
    if settings.saml is not None:
        judges["saml"] = SamlJudge(settings.saml, skew_s=skew_s, now=_now)
    if settings.kerberos is not None:
        judges["kerberos"] = KerberosJudge(settings.kerberos, replay_folder=folder)
    return Judges(judges, settings.table)


def order(settings: IdentitySettings, folder: Path) -> Confinement:
    """Return what the prover takes away from itself: all but its own keys and memory."""
    code = bubblewrap.code()
    readable = [*code.libraries, code.package]
    if settings.passcode_file:
        readable.append(Path(settings.passcode_file).parent)
    if settings.kerberos is not None:
        readable.append(Path(settings.kerberos.keytab_file))
        files = (*_KERBEROS_FILES, *os.environ.get("KRB5_CONFIG", "").split(":"))
        readable += [Path(name) for name in files if name and Path(name).exists()]
    return Confinement(
        layers=confinement.holding(),
        kind=SyscallClass.NETWORK,
        readable=tuple(readable),
        writable=(folder,),
        limits=Limits(memory_mib=MEMORY_MIB, files=FILES),
    )


def _now() -> datetime:
    return datetime.fromtimestamp(time.time(), UTC)


def _receive(parser: socket.socket) -> bytes:
    try:
        return parser.recv(PACKET_BYTES_MAX)
    except OSError:
        return b""


def _answer(judges: Judges, data: bytes) -> Judgement:
    try:
        question = _QUESTION.decode(data)
    except msgspec.DecodeError:
        return Judgement(0, reason="no question")
    try:
        proven, roles = judges.judge(question.kind, question.primary, question.secondary)
    except AsepsisError as error:
        return Judgement(question.number, reason=f"{error.code} {error}")
    return Judgement(question.number, proven.user, tuple(sorted(roles)), proven.answer)
