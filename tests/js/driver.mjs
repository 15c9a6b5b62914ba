// Holds stock clients for tests/server: one JSON command a line on standard input, one JSON line a happening on standard
// output. It ends when its standard input does.
//
//   {"do": "open", "client": "c1", "url": "http://…/chat", "options": {…}}      a client with a connection of its own
//   {"do": "open", "client": "c2", "beside": "c1", "namespace": "/x", "options": {…}}   … on the connection of another
//   {"do": "emit", "client": "c1", "args": ["x", 1], "flags": ["volatile"]}
//   {"do": "ask", "client": "c1", "args": ["x", 1], "timeout": 5000, "id": 7}   answered with all values of the ack
//   {"do": "reply", "client": "c1", "event": "x", "values": [1], "after": 0}    answer each x from now on
//   {"do": "ack", "client": "c1", "ack": 3, "values": [1]}                      answer one event, by hand
//   {"do": "connect" | "disconnect" | "drop" | "raw" | "state" | "hold" | "reset" | "echo", …}
//
// A command with an id is answered with {"id", "value"} or {"id", "error"}; whatever a client hears is told as
// {"client", "event", "args", "ack"}, and what befalls it as {"client", "life", …}. What JSON cannot carry is
// {"$": "bytes" | "date" | "number" | "undefined", "is": …}.

import { createInterface } from "node:readline";
import { io } from "socket.io-client";
import msgpack from "socket.io-msgpack-parser";

// what the option `parser` may name
const parsers = { msgpack };

const clients = new Map();
const acks = new Map();
let acked = 0;

const tell = (line) => process.stdout.write(JSON.stringify(line) + "\n");

function pack(value) {
  if (value === undefined) return { $: "undefined" };
  if (typeof value === "number" && !(Math.abs(value) < 2 ** 53)) return { $: "number", is: String(value) };
  if (value instanceof ArrayBuffer) value = Buffer.from(value);
  if (ArrayBuffer.isView(value)) {
    return { $: "bytes", is: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("base64") };
  }
  if (Array.isArray(value)) return value.map(pack);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, pack(item)]));
}

function bytes(base64, kind = "Buffer") {
  const data = Buffer.from(base64, "base64");
  if (kind === "Buffer") return data;
  const own = data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength);
  return kind === "ArrayBuffer" ? own : new globalThis[kind](own);
}

function unpack(value) {
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map(unpack);
  if (value.$ === "undefined") return undefined;
  if (value.$ === "number") return Number(value.is);
  if (value.$ === "date") return new Date(value.is);
  if (value.$ === "bytes") return bytes(value.is, value.as);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, unpack(item)]));
}

const state = (socket) => ({
  id: socket.id ?? null,
  connected: socket.connected,
  active: socket.active,
  recovered: socket.recovered,
  transport: socket.io.engine?.transport?.name ?? null,
});

function watch(name, socket) {
  const client = { socket, replies: new Map(), held: false };
  const life = (kind, more) => tell({ client: name, life: kind, ...more });
  clients.set(name, client);
  socket.on("connect", () => life("connect", state(socket)));
  socket.on("connect_error", (error) => life("connect_error", { message: error.message, data: pack(error.data) }));
  socket.on("disconnect", (reason) => life("disconnect", { reason }));
  socket.onAny((event, ...args) => {
    const answer = typeof args.at(-1) === "function" ? args.pop() : null;
    if (event === "$sync") return answer();
    let ack = null;
    const reply = client.replies.get(event);
    if (answer && reply) {
      const send = () => answer(...reply.values);
      reply.after ? setTimeout(send, reply.after) : send();
    } else if (answer) {
      ack = ++acked;
      acks.set(ack, answer);
    }
    tell({ client: name, event, args: pack(args), ack });
  });
  for (const event of ["reconnect_attempt", "reconnect", "reconnect_failed"]) {
    socket.io.on(event, () => life(event));
  }
  const engine = () => {
    socket.io.engine.on("upgrade", (transport) => life("upgrade", { transport: transport.name }));
    if (socket.io.engine.transport.name === "websocket") life("upgrade", { transport: "websocket" });
  };
  socket.io.on("open", engine);
  if (socket.io._readyState === "open") engine();
  return socket;
}

const commands = {
  open({ client, url, beside, namespace, options }) {
    const parts = unpack(options);
    if (parts.parser !== undefined) parts.parser = parsers[parts.parser];
    if (beside === undefined) watch(client, io(url, { forceNew: true, reconnection: false, ...parts }));
    else watch(client, clients.get(beside).socket.io.socket(namespace, parts));
  },
  emit({ client, args, flags = [] }) {
    let socket = clients.get(client).socket;
    for (const flag of flags) socket = socket[flag];
    socket.emit(...unpack(args));
  },
  ask({ client, args, timeout }) {
    return new Promise((resolve, reject) => {
      const done = (error, ...values) => (error ? reject(error) : resolve(pack(values)));
      clients.get(client).socket.timeout(timeout).emit(...unpack(args), done);
    });
  },
  reply: ({ client, event, values, after }) =>
    void clients.get(client).replies.set(event, { values: unpack(values), after }),
  ack({ ack, values }) {
    acks.get(ack)(...unpack(values));
  },
  connect: ({ client }) => void clients.get(client).socket.connect(),
  disconnect: ({ client }) => void clients.get(client).socket.disconnect(),
  drop: ({ client }) => void clients.get(client).socket.io.engine.close(),
  raw: ({ client, message }) => void clients.get(client).socket.io.engine.write(unpack(message)),
  state: ({ client }) => state(clients.get(client).socket),
  echo: ({ value }) => pack(unpack(value)),
  reset() {
    for (const { socket } of clients.values()) {
      socket.io.reconnection(false);
      socket.io.removeAllListeners();
      socket.removeAllListeners();
      socket.io._close();
    }
    clients.clear();
    acks.clear();
  },
};

async function obey(line) {
  const { id, ...command } = JSON.parse(line);
  try {
    const value = await commands[command.do](command);
    if (id !== undefined) tell({ id, value: value ?? null });
  } catch (error) {
    tell({ id: id ?? null, error: error.message });
  }
}

process.on("uncaughtException", (error) => tell({ id: null, error: String(error.stack) }));
createInterface({ input: process.stdin })
  .on("line", obey)
  .on("close", () => process.exit());
