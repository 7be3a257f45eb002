"""Starts any program, lets it work, kills it without warning, and returns what it said."""

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence

START_S_MAX = 60.0
"""A program must say its first word within this time."""

GONE_S_MAX = 10.0


def run_and_kill(
    command: Sequence[str],
    *,
    alive_s: float,
    env: Mapping[str, str] | None = None,
    first_word: bytes = b"ack ",
) -> bytes:
    """Run a command, SIGKILL its whole process group in the middle of its work.

    Args:
        command: The program and its arguments.
        alive_s: Seconds it may work after `first_word` has appeared in its output.
        env: Its environment; None for ours.
        first_word: Marks the beginning of its work.

    Returns:
        Its standard output up to the kill, complete as far as it had left the process.

    Raises:
        RuntimeError: It ended by itself, or never began to work.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env=None if env is None else dict(env),
    )
    assert process.stdout is not None
    output = bytearray()
    try:
        _read_until(process, output, START_S_MAX, first_word)
        _read_until(process, output, alive_s, None)
        if first_word not in output or process.poll() is not None:
            raise RuntimeError(
                f"{command[0]} did not work:\n{output[-2000:].decode('utf-8', 'replace')}"
            )
    finally:
        _kill_group(process)
    output += process.stdout.read()  # Said before the kill and still in the pipe.
    process.stdout.close()
    return bytes(output)


def _read_until(
    process: "subprocess.Popen[bytes]", output: bytearray, seconds: float, word: bytes | None
) -> None:
    assert process.stdout is not None
    deadline = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0:
            if not selector.select(left):
                return
            chunk = os.read(process.stdout.fileno(), 1 << 16)
            output += chunk
            if not chunk or (word is not None and word in output):
                return


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()
    deadline = time.monotonic() + GONE_S_MAX
    while time.monotonic() < deadline:
        try:
            os.killpg(process.pid, 0)
        except (ProcessLookupError, PermissionError):
            return
        time.sleep(0.01)
    raise RuntimeError("a killed program is still there")
