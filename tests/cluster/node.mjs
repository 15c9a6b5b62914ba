// Node's own server with its own Redis adapter: node node.mjs REDIS_URL KEY. Obeys a line of JSON at a time, and answers
// each with {id, value} or {id, error}. What its namespaces hear from other servers is told as {heard: [name, args]}.
//
// Bytes and dates travel as {$: "bytes", is: base64} and {$: "date", is: text}.

import { createRequire } from "node:module";
import { createServer } from "node:http";
import { createInterface } from "node:readline";

const require = createRequire(new URL("../js/package.json", import.meta.url));
const { Server } = require("socket.io");
const { createAdapter } = require("@socket.io/redis-adapter");
const { Emitter } = require("@socket.io/redis-emitter");
const { createClient } = require("redis");

const [url, key] = process.argv.slice(2);
const publishing = createClient({ url });
const subscribing = publishing.duplicate();
for (const client of [publishing, subscribing]) client.on("error", () => {});
await Promise.all([publishing.connect(), subscribing.connect()]);
const http = createServer();
const adapter = createAdapter(publishing, subscribing, { key, requestsTimeout: 3000 });
const io = new Server(http, { adapter, serveClient: false });
const emitter = new Emitter(publishing, { key });

const tell = (line) => process.stdout.write(JSON.stringify(line) + "\n");

function pack(value) {
  if (value === undefined) return null;
  if (value instanceof Date) return { $: "date", is: value.toJSON() };
  if (ArrayBuffer.isView(value)) return { $: "bytes", is: Buffer.from(value).toString("base64") };
  if (Array.isArray(value)) return value.map(pack);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, pack(item)]));
}

function unpack(value) {
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map(unpack);
  if (value.$ === "date") return new Date(value.is);
  if (value.$ === "bytes") return Buffer.from(value.is, "base64");
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, unpack(item)]));
}

const remote = ({ id, rooms, data, handshake }) => ({ id, rooms: [...rooms], data: pack(data), query: handshake.query });

function open(name) {
  const nsp = io.of(name);
  nsp.on("connection", (socket) => void (socket.data.of = "node"));
  nsp.on("sum", (a, b, answer) => answer(a + b));
  nsp.on("notice", (...args) => tell({ heard: [name, pack(args)] }));
}

function chosen(command) {
  let target = command.by === "emitter" ? emitter.of(command.nsp) : io.of(command.nsp);
  for (const room of command.rooms ?? []) target = target.to(room);
  for (const room of command.except ?? []) target = target.except(room);
  for (const flag of command.flags ?? []) target = flag === "compress" ? target.compress(false) : target[flag];
  return target;
}

async function one(command) {
  return (await io.of(command.nsp).in(command.socket).fetchSockets())[0];
}

const commands = {
  open: ({ nsp }) => open(nsp),
  emit: (c) => void chosen(c).emit(...unpack(c.args)),
  ask: async (c) => pack(await chosen(c).timeout(c.timeout).emitWithAck(...unpack(c.args))),
  fetch: async (c) => (await chosen(c).fetchSockets()).map(remote),
  join: (c) => void chosen(c).socketsJoin(c.names),
  leave: (c) => void chosen(c).socketsLeave(c.names),
  disconnect: (c) => void chosen(c).disconnectSockets(c.close),
  tell: (c) => void chosen(c).serverSideEmit(...unpack(c.args)),
  query: (c) => io.of(c.nsp).serverSideEmitWithAck(...unpack(c.args)),
  count: (c) => io.of(c.nsp).adapter.serverCount(),
  all: async (c) => [...(await io.of(c.nsp).adapter.allRooms())],
  remoteEmit: async (c) => void (await one(c)).emit(...unpack(c.args)),
  remoteAsk: async (c) => pack(await (await one(c)).timeout(2000).emitWithAck(...unpack(c.args))),
  remoteJoin: async (c) => void (await one(c)).join(c.names),
  remoteLeave: async (c) => void (await one(c)).leave(c.names[0]),
  remoteDisconnect: async (c) => void (await one(c)).disconnect(c.close),
};

createInterface({ input: process.stdin })
  .on("line", async (line) => {
    const command = JSON.parse(line);
    try {
      tell({ id: command.id, value: (await commands[command.do](command)) ?? null });
    } catch (error) {
      tell({ id: command.id, error: String(error.stack) });
    }
  })
  .on("close", () => process.exit(0));
http.listen(0, "127.0.0.1", () => tell({ port: http.address().port }));
