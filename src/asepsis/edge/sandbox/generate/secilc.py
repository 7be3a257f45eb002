"""Compiles a policy with the compiler of the SELinux project; a broken claim is told by its id.

Source: secilc(8).
"""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from asepsis.core.errors import ConfigError
from asepsis.core.model.manifest_claims import CLAIMS
from asepsis.edge.sandbox.generate.selinux import Policy

POLICY_VERSION: Final = 33
"""Binary policy version: Linux 5.12 and later."""
TIMEOUT_S: Final = 60.0
_FAILED: Final = re.compile(r"neverallow check failed at .*?:(\d+)$", re.MULTILINE)
_RULE: Final = re.compile(r"^\s+(\(allow .*\))$", re.MULTILINE)


def program() -> Path | None:
    """Return the compiler of this machine, if there is one."""
    found = shutil.which("secilc", path="/usr/bin:/usr/sbin:/bin:/usr/local/bin")
    return Path(found) if found else None


def compile_policy(policy: Policy) -> bytes:
    """Compile a policy, `neverallow` rules checked.

    Returns:
        The binary policy, as the kernel loads it.

    Raises:
        ConfigError: No compiler, a broken claim (with its id), or no policy.
    """
    compiler = program()
    if compiler is None:
        raise ConfigError("no secilc on this machine", hint="install secilc")
    with tempfile.TemporaryDirectory(prefix="asepsis-policy-") as folder:
        source, binary = Path(folder, "device.cil"), Path(folder, "policy")
        source.write_text(policy.text, "ascii")
        command = [str(compiler), "-M", "false", "-c", str(POLICY_VERSION), "-o", str(binary)]
        try:
            done = subprocess.run(  # noqa: S603 - the compiler, with our own files
                [*command, "-f", str(Path(folder, "contexts")), str(source)],
                capture_output=True,
                timeout=TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ConfigError(f"secilc does not run: {type(error).__name__}") from error
        if done.returncode == 0:
            return binary.read_bytes()
    raise _refusal(policy, (done.stderr + done.stdout).decode("utf-8", "replace"))


def _refusal(policy: Policy, said: str) -> ConfigError:
    failed = _FAILED.search(said)
    claim = policy.claim_lines.get(int(failed.group(1))) if failed else None
    if claim is None:
        return ConfigError(f"secilc refuses the policy: {said.strip()[:300]}")
    rule = _RULE.search(said, failed.end() if failed else 0)
    shown = rule.group(1) if rule else "a rule"
    return ConfigError(f"{claim}: {shown} breaks it", hint=CLAIMS[claim].sentence)
