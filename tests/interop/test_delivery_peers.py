"""HL7 receivers that we did not write, as the EHR behind a real hub."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SYSTEM = HERE.parent / "system"
FOLDERS = (HERE, SYSTEM / "delivery", SYSTEM / "hub", HERE.parents[1] / "benchmarks")
sys.path[:0] = [str(folder) for folder in FOLDERS]

import npm_peer  # noqa: E402 - the path comes first
from delivery_ward import DeliveryWard, make_delivery, oru, wait_until  # noqa: E402 - as above

COUNT = 12
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


@pytest.fixture
def node_ehr(tmp_path: Path) -> Iterator[Callable[[], DeliveryWard]]:
    """Return a function that starts a hub with an npm `node-hl7-server` over TLS behind it."""
    ward = make_delivery(tmp_path)
    ward.sink.kill()
    tls = ward.ward.hospital.data / "hub" / "tls"
    arguments = [str(tls / "chain.pem"), str(tls / "key.pem"), str(ward.sink.folder)]
    environment = {**os.environ, "NODE_PATH": str(npm_peer.node_modules())}
    with subprocess.Popen(
        [npm_peer.node(), "-e", NODE, *arguments],
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    ) as node:

        def start() -> DeliveryWard:
            assert node.stdout is not None
            ward.sink.port = json.loads(node.stdout.readline())
            ward.start()
            return ward

        yield start
        ward.close()
        node.kill()


@pytest.mark.slow
def test_node_hl7_server_gets_everything_in_order_and_its_refusal_is_a_dead_letter(
    node_ehr: Callable[[], DeliveryWard],
) -> None:
    ward = node_ehr()
    ward.add()
    ward.send([oru(n) for n in range(1, COUNT + 1)])
    expected = [str(n) for n in range(1, COUNT + 1) if n != 5]

    wait_until(lambda: len(ward.sink.once()) >= len(expected))
    # This server hands its handler a message of a connection more than once, and answers it once.
    assert ward.sink.once() == expected
    wait_until(lambda: ward.destination()["accepted"] == len(expected))
    (letter,) = ward.people("clinical-engineer").get("/api/dead-letters")["dead_letters"]
    assert letter["code"] == "AR"
