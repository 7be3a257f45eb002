"""Renew both lock files from pyproject.toml: hashes for every file, no index address in any.

Needs `uv` on the PATH. New releases cool down for a week before a lock may take them: most
malicious uploads are found within days.
"""

import subprocess
from datetime import UTC, datetime, timedelta

COOLDOWN_DAYS = 7


def compile_lock(output: str, *more: str) -> None:
    """Write one lock file.

    Raises:
        subprocess.CalledProcessError: The resolver found no answer; its reason is on stderr.
    """
    newest = (datetime.now(UTC) - timedelta(days=COOLDOWN_DAYS)).date().isoformat()
    subprocess.run(  # noqa: S603 - fixed words only
        [
            *("uv", "pip", "compile", "--quiet", "--generate-hashes", "--no-header"),
            *("--no-annotate", "--no-emit-index-url", "--python-version", "3.11"),
            *("--exclude-newer", newest, "pyproject.toml", "requirements/build.in"),
            *more,
            *("-o", output),
        ],
        check=True,
    )


if __name__ == "__main__":
    compile_lock("requirements/runtime.txt")
    compile_lock(
        "requirements/test.txt",
        *("--group", "pyproject.toml:test", "-c", "requirements/runtime.txt"),
    )
