"""HL7 senders that we did not write, through the real gateway to a real hub's journal."""

import asyncio
import json
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hl7
import pytest
from hl7.mllp import open_hl7_connection

GATEWAY_TESTS = Path(__file__).parents[1] / "system" / "gateway"
HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(GATEWAY_TESTS), str(Path(__file__).parents[2] / "benchmarks")]

import npm_peer  # noqa: E402 - the path comes first
from gateway_ward import Ward, make_ward, oru, peer_text  # noqa: E402 - the path comes first

SEND = Path(sys.executable).with_name("mllp_send")
COUNT = 25
NODE = """
const mod = require("node-hl7-client");
const Client = mod.default || mod.Client || mod;
const fs = require("fs");
const line = JSON.parse(fs.readFileSync(0, "utf8").split("\\n")[0]);
const options = { host: line.host, version: "2.6" };
if (line.ca) options.tls = { ca: fs.readFileSync(line.ca), servername: "localhost" };
if (line.key) {
  options.tls.key = fs.readFileSync(line.key);
  options.tls.cert = fs.readFileSync(line.cert);
}
const client = new Client(options);
const codes = [];
const conn = client.createConnection({ port: line.port }, async (res) => {
  codes.push(res.getMessage().get("MSA.1").toString() + res.getMessage().get("MSA.2").toString());
  if (codes.length === line.messages.length) {
    console.log(JSON.stringify(codes));
    await conn.close();
    process.exit(0);
  }
});
conn.on("error", (error) => { console.error(error); process.exit(1); });
(async () => {
  for (const text of line.messages) {
    const before = codes.length;
    await conn.sendMessage(new mod.Message({ text }));
    while (codes.length === before) await new Promise((r) => setTimeout(r, 2));
  }
})();
"""


@pytest.fixture
def prepared(tmp_path: Path) -> Iterator[Callable[..., Ward]]:
    """Return a function that starts a ward: hub, gateway, a plain and a TLS port."""
    wards: list[Ward] = []

    def prepare(*, client_ca: bool = False) -> Ward:
        ward = make_ward(tmp_path, peers=PEERS, listeners=listeners(tmp_path, client_ca=client_ca))
        wards.append(ward)
        ward.start_hub()
        ward.start_gateway()
        return ward

    yield prepare
    for ward in wards:
        ward.close()


PEERS = peer_text("plain", ["127.0.0.1"]) + peer_text("secure", ["127.0.0.1"], ward="secure")


def listeners(folder: Path, *, client_ca: bool) -> str:
    tls_folder = folder / "hospital/data/hub/tls"
    ca = f'client_ca_file = "{folder}/hospital/data/ca/root.crt"' if client_ca else ""
    return f"""\
[[listeners]]
name = "ward"
host = "127.0.0.1"
port = 0
[[listeners]]
name = "secure"
host = "127.0.0.1"
port = 0
[listeners.tls]
chain_file = "{tls_folder}/chain.pem"
key_file = "{tls_folder}/key.pem"
{ca}
"""


def root(ward: Ward) -> Path:
    return ward.hospital.data / "ca/root.crt"


def finish(ward: Ward, sent: list[bytes]) -> None:
    """Goal: every message is in the journal, byte for byte, once."""
    assert ward.stop_gateway() == 0
    assert ward.journalled() == sent


def messages(count: int = COUNT) -> list[bytes]:
    return [oru(n, ack=b"") for n in range(1, count + 1)]


def test_mllp_send_of_the_hl7_package(prepared: Callable[..., Ward], tmp_path: Path) -> None:
    ward = prepared()
    sent = messages()
    file = tmp_path / "messages.hl7"
    file.write_bytes(b"".join(sent).replace(b"\r", b"\r\n"))
    done = subprocess.run(
        [SEND, "--loose", "--file", file, "-p", str(ward.port()), "127.0.0.1"],
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.count(b"MSA|AA|") == COUNT
    finish(ward, [message.rstrip(b"\r") for message in sent])


@pytest.mark.parametrize("secure", [False, True])
def test_the_hl7_packages_asyncio_client(prepared: Callable[..., Ward], *, secure: bool) -> None:
    ward = prepared()
    context = ssl.create_default_context(cafile=str(root(ward))) if secure else None
    port = ward.port("secure" if secure else "ward")

    async def run() -> list[tuple[str, str]]:
        host = "localhost" if secure else None
        more: dict[str, Any] = {"ssl": context, "server_hostname": host} if secure else {}
        reader, writer = await open_hl7_connection("127.0.0.1", port, encoding="utf-8", **more)
        answers: list[tuple[str, str]] = []
        for data in messages():
            writer.writemessage(hl7.parse(data.decode()))
            await writer.drain()
            msa = (await asyncio.wait_for(reader.readmessage(), 20)).segment("MSA")
            answers.append((str(msa[1]), str(msa[2])))
        writer.close()
        await writer.wait_closed()
        return answers

    assert asyncio.run(run()) == [("AA", str(n)) for n in range(1, COUNT + 1)]
    finish(ward, messages())


NODE_BATCH = (
    NODE.split("const codes", maxsplit=1)[0]
    + """
const conn = client.createConnection({ port: line.port }, async (res) => {
  console.log(JSON.stringify(res.getMessage().get("MSA.1").toString()));
});
conn.on("error", (error) => { console.error(error); process.exit(1); });
conn.on("client.acknowledged", async (count) => {
  if (count >= line.count) { await conn.close(); process.exit(0); }
});
const batch = new mod.Batch();
batch.start();
for (const text of line.messages) batch.add(new mod.Message({ text }));
batch.end();
conn.sendMessage(batch);
"""
)


def test_batches_of_the_hl7_package(prepared: Callable[..., Ward]) -> None:
    """Goal: a file as that package writes it, answered by one that it reads."""
    ward = prepared()
    sent = messages(3)
    head = "FHS|^~\\&|MON|GW|||||||F-1\rBHS|^~\\&|MON|GW|||||||B-1\r"
    whole = hl7.parse_file(head + b"".join(sent).decode() + "BTS|3\rFTS|1\r")

    async def run() -> bytes:
        reader, writer = await open_hl7_connection("127.0.0.1", ward.port(), encoding="utf-8")
        writer.writeblock(str(whole).encode())
        await writer.drain()
        answer = await asyncio.wait_for(reader.readblock(), 20)
        writer.close()
        await writer.wait_closed()
        return answer

    file = hl7.parse_file(asyncio.run(run()).decode())
    (batch,) = file
    assert [str(ack.segment("MSA")) for ack in batch] == ["MSA|AA|1", "MSA|AA|2", "MSA|AA|3"]
    assert str(batch.trailer) == "BTS|3"
    assert ward.stop_gateway() == 0
    assert [one.rstrip(b"\r") for one in ward.journalled()] == [one.rstrip(b"\r") for one in sent]


def test_a_batch_of_node_hl7_client(prepared: Callable[..., Ward]) -> None:
    ward = prepared()
    texts = [message.decode().rstrip("\r") for message in messages(3)]
    order = {"host": "127.0.0.1", "port": ward.port(), "messages": texts, "count": 3}
    assert npm_peer.run(NODE_BATCH, [json.dumps(order)]) == ["AA", "AA", "AA"]
    assert ward.stop_gateway() == 0
    assert [body.decode().rstrip("\r") for body in ward.journalled()] == texts


@pytest.mark.parametrize("way", ["plain", "tls", "mutual"])
def test_node_hl7_client(prepared: Callable[..., Ward], way: str) -> None:
    ward = prepared(client_ca=way == "mutual")
    texts = [message.decode().rstrip("\r") for message in messages()]
    order: dict[str, Any] = {
        "host": "127.0.0.1" if way == "plain" else "localhost",
        "port": ward.port("ward" if way == "plain" else "secure"),
        "messages": texts,
    }
    if way != "plain":
        order["ca"] = str(root(ward))
    if way == "mutual":
        order["key"] = str(ward.machine.files.key_path)
        order["cert"] = str(ward.machine.files.chain_path)
    (codes,) = npm_peer.run(NODE, [json.dumps(order)])
    assert codes == [f"AA{n}" for n in range(1, COUNT + 1)]
    assert ward.stop_gateway() == 0
    stored = [body.decode().rstrip("\r") for body in ward.journalled()]
    assert stored == texts
