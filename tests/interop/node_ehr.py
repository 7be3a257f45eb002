"""An npm `node-hl7-server` over TLS as an EHR: it appends id and text of what it took to a log."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent)]

import npm_peer  # noqa: E402 - the path comes first

NODE = """
const { Server } = require("node-hl7-server");
const fs = require("fs");
const [chain, key, folder] = process.argv.slice(1);
const server = new Server({ bindAddress: "127.0.0.1", tls: {
  key: fs.readFileSync(key), cert: fs.readFileSync(chain), rejectUnauthorized: false } });
const probe = require("net").createServer().listen(0, "127.0.0.1", () => {
  const port = probe.address().port;
  probe.close(() => {
    const inbound = server.createInbound({ port }, async (req, res) => {
      const id = req.getMessage().get("MSH.10").toString();
      const refused = id === "5";
      if (!refused) fs.appendFileSync(folder + "/received.log",
        JSON.stringify([id, req.getMessage().toString()]) + "\\n");
      await res.sendResponse(refused ? "AR" : "AA");
    });
    inbound.on("listen", () => console.log(port));
  });
});
"""


@contextmanager
def node_server(chain: Path, key: Path, folder: Path) -> Iterator[int]:
    """Run the server and yield its port; it refuses the message with MSH-10 `5`."""
    folder.mkdir(exist_ok=True)
    environment = {**os.environ, "NODE_PATH": str(npm_peer.node_modules())}
    with subprocess.Popen(
        [npm_peer.node(), "-e", NODE, str(chain), str(key), str(folder)],
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    ) as node:
        assert node.stdout is not None
        try:
            yield json.loads(node.stdout.readline())
        finally:
            node.kill()
