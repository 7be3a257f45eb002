"""What a device must carry for its spool."""

import subprocess
import sys

SPOOL = """
import sys
import asepsis.core.journal.aio, asepsis.core.journal.sqlite
import asepsis.core.trust.sealing_days, asepsis.core.trust.sealing_libcrypto
print(*{name.split(".")[0] for name in sys.modules} & {"cryptography", "sqlalchemy", "msgspec"})
"""


def test_the_spool_needs_the_standard_library_only() -> None:
    """Goal: no package beside Python's own stands behind an edge's journal."""
    done = subprocess.run([sys.executable, "-c", SPOOL], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
