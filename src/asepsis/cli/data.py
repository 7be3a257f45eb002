"""Where a hub keeps what it has: the option that most commands share."""

from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

DATA: Final = Path("/var/lib/asepsis")
Data = Annotated[Path, Parameter(help="Data folder, made by `asepsis hub init`.")]
