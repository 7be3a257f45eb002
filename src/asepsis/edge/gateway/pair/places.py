"""Where the files of a pair stand in a gateway's data folder."""

from pathlib import Path


def folder(data: Path) -> Path:
    """Return the folder of the pair's process."""
    return data / "pair"


def risk_list(data: Path) -> Path:
    """Return the list of what only the other gateway's disk has."""
    return folder(data) / "at-risk"


def state(data: Path) -> Path:
    """Return what the pair's process says of itself."""
    return folder(data) / "state.json"


def came_again(data: Path) -> Path:
    """Return what of the list came to this gateway; the keeper writes it."""
    return data / "spool" / "came-again"
