// automerge-repo as its users run it: files for storage, a websocket, and a hub that shares nothing unasked.
//   node automerge_repo.mjs make STORAGE DOCUMENTS   puts the files of a folder into a storage
//   node automerge_repo.mjs hub STORAGE EXPECTED     serves a storage; prints its port, and "agrees" at the end
//   node automerge_repo.mjs client STORAGE EXPECTED  loads every document, waits for a line with an address, connects
// EXPECTED is a JSON file: for each document its 16 bytes in hexadecimal and its heads in the end, sorted.
import { readFileSync, readdirSync } from "node:fs";
import { createInterface } from "node:readline";
import { getHeads } from "@automerge/automerge";
import { Repo, parseAutomergeUrl, stringifyAutomergeUrl } from "@automerge/automerge-repo";
import { NodeWSServerAdapter, WebSocketClientAdapter } from "@automerge/automerge-repo-network-websocket";
import { NodeFSStorageAdapter } from "@automerge/automerge-repo-storage-nodefs";
import { WebSocketServer } from "ws";

const [what, folder, more] = process.argv.slice(2);
const storage = new NodeFSStorageAdapter(folder);
const urlOf = (hex) => stringifyAutomergeUrl(new Uint8Array(Buffer.from(hex, "hex")));
const say = (value) => console.log(JSON.stringify(value));

// Whether every document of this repo is as it should be in the end; `ids` shrinks to those that are not.
async function agreed(repo, ids) {
  const expected = JSON.parse(readFileSync(more, "utf8"));
  for (const { id, heads } of expected) ids.set(parseAutomergeUrl(urlOf(id)).documentId, heads.join());
  while (ids.size > 0) {
    for (const [id, heads] of ids) {
      const handle = repo.handles[id];
      if (!handle?.isReady()) continue;
      if (getHeads(handle.doc()).sort().join() === heads) ids.delete(id);
    }
    await new Promise((done) => setTimeout(done, 100));
  }
}

if (what === "make") {
  const repo = new Repo({ storage });
  for (const name of readdirSync(more)) {
    const docId = parseAutomergeUrl(urlOf(name.split(".")[0])).documentId;
    repo.import(new Uint8Array(readFileSync(`${more}/${name}`)), { docId });
  }
  await repo.flush();
  process.exit(0);
}

if (what === "hub") {
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
  await new Promise((done) => server.once("listening", done));
  const repo = new Repo({ network: [new NodeWSServerAdapter(server)], storage, peerId: "hub", sharePolicy: async () => false });
  say({ port: server.address().port });
  await agreed(repo, new Map());
  say({ agrees: true });
}

if (what === "client") {
  const repo = new Repo({ storage, peerId: "depot" });
  for (const { id } of JSON.parse(readFileSync(more, "utf8"))) await repo.find(urlOf(id));
  say({ loaded: true });
  const address = await new Promise((done) => createInterface(process.stdin).once("line", done));
  const adapter = new WebSocketClientAdapter(address, 500);
  let messages = 0;
  const send = adapter.send.bind(adapter);
  adapter.send = (message) => ((messages += 1), send(message));
  adapter.on("message", () => (messages += 1));
  repo.networkSubsystem.addNetworkAdapter(adapter);
  await agreed(repo, new Map());
  say({ agrees: true, messages });
}
