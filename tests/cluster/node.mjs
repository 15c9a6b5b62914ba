// Node's own server with one of its own adapters: node node.mjs KIND URL KEY, where KIND is a key of `kinds`. Obeys a line
// of JSON at a time, and answers each with {id, value} or {id, error}. What its namespaces hear from other servers is told as {heard: [name, args]}.
//
// Bytes and dates travel as {$: "bytes", is: base64} and {$: "date", is: text}.

import { createRequire } from "node:module";
import { createServer } from "node:http";
import { createInterface } from "node:readline";

const require = createRequire(new URL("../js/package.json", import.meta.url));
const { Server } = require("socket.io");

const streams4 = (url, key) => streams(url, key, { streamCount: 4 });
const streamsS = (url, key) => streams(url, key, { useShardedPubSub: true });
const kinds = { pubsub, sharded, rediscluster, postgres, streams, streams4, streamsS, recovery };

async function redisClients(url) {
  const { createClient } = require("redis");
  const publishing = createClient({ url });
  const subscribing = publishing.duplicate();
  for (const client of [publishing, subscribing]) client.on("error", () => {});
  await Promise.all([publishing.connect(), subscribing.connect()]);
  return [publishing, subscribing];
}

const alone = (url) => url.replace(/^redis[+a-z]*:/, "redis:");

async function sharded(url, channelPrefix) {
  const { createShardedAdapter } = require("@socket.io/redis-adapter");
  return { adapter: createShardedAdapter(...(await redisClients(alone(url))), { channelPrefix }) };
}

async function rediscluster(url, channelPrefix) {
  const { createShardedAdapter } = require("@socket.io/redis-adapter");
  const { createCluster } = require("redis");
  const rootNodes = alone(url).slice("redis://".length).split(",").map((node) => ({ url: `redis://${node}` }));
  const clients = [createCluster({ rootNodes }), createCluster({ rootNodes })];
  for (const client of clients) client.on("error", () => {});
  await Promise.all(clients.map((client) => client.connect()));
  return { adapter: createShardedAdapter(...clients, { channelPrefix }) };
}

async function pubsub(url, key) {
  const { createAdapter } = require("@socket.io/redis-adapter");
  const { Emitter } = require("@socket.io/redis-emitter");
  const [publishing, subscribing] = await redisClients(url);
  return {
    adapter: createAdapter(publishing, subscribing, { key, requestsTimeout: 3000 }),
    emitter: new Emitter(publishing, { key }),
  };
}

// The table is made here, as Node's documentation says. One connection of the pool listens; with more than one other,
// Node's messages overtake each other.
async function postgres(url, key) {
  const { Pool } = require("pg");
  const { createAdapter } = require("@socket.io/postgres-adapter");
  const { Emitter } = require("@socket.io/postgres-emitter");
  const pool = new Pool({ connectionString: url, max: 2 });
  pool.on("error", () => {});
  await pool.query(`CREATE TABLE IF NOT EXISTS socket_io_attachments
    (id bigserial UNIQUE, created_at timestamptz DEFAULT NOW(), payload bytea)`);
  const options = { channelPrefix: key, heartbeatInterval: 200, heartbeatTimeout: 4000 };
  return { adapter: createAdapter(pool, options), emitter: { of: (nsp) => new Emitter(pool, nsp, { channelPrefix: key }) } }; // its `of` forgets the options
}

async function streams(url, key, options = {}) {
  const { createAdapter } = require("@socket.io/redis-streams-adapter");
  const [client] = await redisClients(url);
  return { adapter: createAdapter(client, { streamName: key, channelPrefix: key, ...options }) };
}

async function recovery(url, key) {
  return { ...(await streams(url, key)), options: { connectionStateRecovery: {} } };
}

const [kind, url, key] = process.argv.slice(2);
const { adapter, emitter, options } = await kinds[kind](url, key);
const http = createServer();
const io = new Server(http, { adapter, serveClient: false, ...options });

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

// Only the adapter over Redis pub/sub has a question for the rooms.
async function allRooms(nsp) {
  if (nsp.adapter.allRooms) return nsp.adapter.allRooms();
  return new Set((await nsp.fetchSockets()).flatMap((socket) => [...socket.rooms]));
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
  all: async (c) => [...(await allRooms(io.of(c.nsp)))],
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
