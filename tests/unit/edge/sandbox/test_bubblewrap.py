"""The command line of a compartment's view."""

from pathlib import Path

from asepsis.edge.sandbox.bubblewrap import Code, arguments

WHERE = Code(
    interpreter=Path("/opt/python/bin/python3.11"),
    libraries=(Path("/opt/python/lib/python3.11"),),
    package=Path("/srv/site-packages/asepsis"),
)
BWRAP = Path("/usr/bin/bwrap")


def pairs(line: tuple[str, ...], option: str) -> list[tuple[str, str]]:
    return [(line[n + 1], line[n + 2]) for n, word in enumerate(line) if word == option]


def test_a_compartment_sees_code_and_nothing_else() -> None:
    line = arguments(bwrap=BWRAP, where=WHERE, as_root=False)
    shown = {target for _, target in pairs(line, "--ro-bind")}
    assert {"/asepsis/asepsis/core", "/asepsis/asepsis/edge"} <= shown
    assert not any(
        "hub" in target or target in ("/", "/usr", "/etc", "/srv/site-packages") for target in shown
    )
    assert pairs(line, "--bind") == []
    assert "--proc" not in line
    assert "--dev" not in line
    assert {"--unshare-net", "--unshare-pid", "--unshare-ipc", "--die-with-parent"} <= set(line)
    assert line[-1] == "--"


def test_only_root_keeps_the_two_capabilities_it_needs_to_change_its_user() -> None:
    root = arguments(bwrap=BWRAP, where=WHERE, as_root=True)
    other = arguments(bwrap=BWRAP, where=WHERE, as_root=False)
    kept = [root[n + 1] for n, word in enumerate(root) if word == "--cap-add"]
    assert kept == ["CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"]
    assert "--unshare-user" not in root
    assert "--cap-add" not in other
    assert "--unshare-user" in other


def test_one_folder_may_be_writable() -> None:
    line = arguments(bwrap=BWRAP, where=WHERE, as_root=True, state=Path("/d/network"), info=7)
    assert pairs(line, "--bind") == [("/d/network", "/state")]
    assert line.index("--remount-ro") > line.index("--bind")
    assert line[line.index("--info-fd") + 1] == "7"
