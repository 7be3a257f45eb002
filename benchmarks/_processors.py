"""Processor time of process trees: what a figure costs, whatever else the machine does."""

from collections.abc import Mapping

import psutil


class Processors:
    """What the processes of several trees used since it was made.

    Args:
        roots: Name -> pid of the first process of a tree.
    """

    def __init__(self, roots: Mapping[str, int]) -> None:
        self._roots = dict(roots)
        self._begun = self._seconds()

    def used_ms(self, *, each: int) -> dict[str, float]:
        """Return milliseconds for each of so many pieces of work, of those that did any.

        Processes of a tree are numbered as they were started; what ended counts for its parent.
        """
        now = self._seconds()
        found = {name: now[name] - self._begun.get(name, 0.0) for name in now}
        return {name: round(s / each * 1e3, 2) for name, s in found.items() if s / each >= 5e-5}

    def _seconds(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for name, pid in self._roots.items():
            root = psutil.Process(pid)
            tree = [root, *sorted(root.children(recursive=True), key=lambda one: one.pid)]
            for number, process in enumerate(tree):
                try:
                    times = process.cpu_times()
                except psutil.NoSuchProcess:
                    continue
                label = f"{name}-{process.pid - pid}" if number else name
                own = times.user + times.system
                found[label] = own + times.children_user + times.children_system
        return found
