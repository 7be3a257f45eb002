"""`filtered.py RULES PLAN`, in a namespace of its own: loads a filter and tries what passes.

Every address of the plan is a host of its own behind a card of its own; this namespace is the
filter between them. What was tried and what became of it is printed as JSON.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HOST = Path(__file__).with_name("host.py")
GATE = "169.254.1.1"
"""The filter, as hosts see it."""


def run(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


class Host:
    """A host with one address and one process."""

    def __init__(self, name: str, address: str, number: int, ports: Sequence[int]) -> None:
        self.card = f"c{number}"
        self._holder = subprocess.Popen(
            ["unshare", "--net", sys.executable, str(HOST), ",".join(map(str, ports))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()  # It is in its namespace now.
        pid = str(self._holder.pid)
        run("ip", "link", "add", self.card, "type", "veth", "peer", "name", "e0", "netns", pid)
        run("ip", "addr", "add", f"{GATE}/32", "dev", self.card)
        run("ip", "link", "set", self.card, "up")
        run("ip", "route", "add", f"{address}/32", "dev", self.card)
        inside = ("nsenter", "--target", pid, "--net", "--", "ip")
        run(*inside, "link", "set", "lo", "up")
        run(*inside, "addr", "add", f"{address}/32", "dev", "e0")
        run(*inside, "link", "set", "e0", "up")
        run(*inside, "route", "add", f"{GATE}/32", "dev", "e0")
        run(*inside, "route", "add", "default", "via", GATE, "dev", "e0")
        self.name, self.address = name, address

    def ask(self, words: Mapping[str, Any]) -> None:
        assert self._holder.stdin is not None
        self._holder.stdin.write(json.dumps(words) + "\n")
        self._holder.stdin.flush()

    def answer(self) -> Any:
        return self._answer()

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()

    def _answer(self) -> Any:
        assert self._holder.stdout is not None
        return json.loads(self._holder.stdout.readline())


def tried(hosts: Sequence[Host], ports: Sequence[int], passing: set[str]) -> list[str]:
    """Return what reached its target, as `source target port`; all hosts try at once."""
    for host in hosts:
        aims = [
            {
                "address": other.address,
                "port": port,
                "word": f"{host.name} {other.name} {port}",
                "wait_s": 20 if f"{host.name} {other.name} {port}" in passing else 1,
            }
            for other in hosts
            if other is not host
            for port in ports
        ]
        host.ask({"connect": aims})
    return sorted(word for host in hosts for word in host.answer())


def main() -> None:
    rules, plan = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())
    run("ip", "link", "set", "lo", "up")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    ports = plan["ports"]
    hosts = [
        Host(name, address, number, ports)
        for number, (name, address) in enumerate(plan["hosts"].items())
    ]
    by_name = {host.name: host for host in hosts}
    every = {
        f"{a.name} {b.name} {port}" for a in hosts for b in hosts if a is not b for port in ports
    }
    try:
        before = tried(hosts, ports, every)
        text = rules.read_text()
        for name, card in plan["cards"].items():
            text = text.replace(f'"{name}"', f'"{by_name[card].card}"')
        for _ in range(2):  # A second time it takes the place of the first.
            subprocess.run(["nft", "-f", "-"], input=text, text=True, check=True)
        after = tried(hosts, ports, set(plan["passing"]))
        for sender, source, target in plan["lies"]:
            by_name[sender].ask({"lie": [by_name[source].address, by_name[target].address]})
            by_name[sender].answer()
        rows = run("nft", "--json", "list", "table", "inet", "asepsis_threats")
    finally:
        for host in hosts:
            host.close()
    print(json.dumps({"before": before, "after": after, "table": json.loads(rows)}))  # noqa: T201 - a program


if __name__ == "__main__":
    main()
