// The stock JavaScript server, as the application that madang's client is tested against (tests/client/servers.py has the
// same one written with madang). Prints {"port"} when it listens; ends when standard input does.
//
//   POST /control {"do": "heard", "who": …, "count": 3}      answers {"value": …} or {"error": …}
//
// Clients name themselves by the query parameter `who`. Bytes travel as {"$bytes": hex} on the way of control.

import { createServer } from "node:http";
import { Server } from "socket.io";
import msgpack from "socket.io-msgpack-parser";

const PATIENCE = 5_000;
const ledgers = new Map();
const sockets = new Map();
const sessions = new Map();
const tries = new Map();

class Ledger {
  entries = [];
  waiting = [];

  add(...entry) {
    this.entries.push(entry);
    this.waiting = this.waiting.filter(({ count, done }) => {
      if (this.entries.length >= count) done(this.entries);
      return this.entries.length < count;
    });
  }

  reach(count) {
    if (this.entries.length >= count) return this.entries;
    return new Promise((done, fail) => {
      const timer = setTimeout(() => fail(new Error(`heard only ${JSON.stringify(pack(this.entries))}`)), PATIENCE);
      this.waiting.push({ count, done: (entries) => (clearTimeout(timer), done(entries)) });
    });
  }
}

function ledger(who) {
  if (!ledgers.has(who)) ledgers.set(who, new Ledger());
  return ledgers.get(who);
}

function pack(value) {
  if (Buffer.isBuffer(value)) return { $bytes: value.toString("hex") };
  if (Array.isArray(value)) return value.map(pack);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, pack(item)]));
}

function unpack(value) {
  if (Array.isArray(value)) return value.map(unpack);
  if (value === null || typeof value !== "object") return value;
  if (value.$bytes !== undefined) return Buffer.from(value.$bytes, "hex");
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, unpack(item)]));
}

function joined(socket) {
  const who = socket.handshake.query.who;
  const heard = ledger(who);
  const name = socket.nsp.name;
  sockets.set(`${who} ${name}`, socket);
  heard.add(name, "connect");
  if (socket.handshake.query.hello) socket.emit("hello", socket.id);
  socket.onAny((event, ...args) => {
    heard.add(name, event, ...args.filter((arg) => typeof arg !== "function"));
  });
  socket.on("disconnect", (reason) => heard.add(name, "disconnect", reason));
  socket.on("echo", (...args) => {
    const ack = typeof args.at(-1) === "function" ? args.pop() : null;
    ack ? ack(...args) : socket.emit("echo", ...args);
  });
  socket.on("nth", (number, key, ack) => {
    const count = (tries.get(key) ?? 0) + 1;
    tries.set(key, count);
    if (count >= number) ack(count);
  });
  socket.on("please", (event, ...args) => socket.emit(event, ...args));
  socket.on("please ask", (event, ...args) => {
    socket.timeout(PATIENCE).emit(event, ...args, (error, ...values) => {
      socket.emit("answered", ...(error ? ["nothing"] : values));
    });
  });
  socket.on("leave", (close) => socket.disconnect(close));
}

function serve(path, options = {}) {
  const io = new Server(http, { path, ...options });
  for (const name of ["/", "/chat", "/auth", "/late"]) io.of(name).on("connection", joined);
  io.of("/auth").use((socket, next) => {
    ledger(socket.handshake.query.who).add("/auth", "asks", socket.handshake.auth);
    if (socket.handshake.auth.token === "good") return next();
    const error = new Error("not allowed");
    error.data = { code: 401 };
    next(error);
  });
  io.of("/late").use((_, next) => setTimeout(next, 30));
  io.engine.on("connection", (session) => {
    sessions.set(session.request._query.who, session);
    if (!session.request._query.early) return;
    for (const number of [1, 2]) session.send(`2["early",${number}]`);
  });
  return io;
}

class Encoder {
  encode = (packet) => [JSON.stringify(packet)];
}

class Decoder {
  listener = () => {};
  on = (_, listener) => (this.listener = listener);
  off = () => {};
  removeListener = () => {};
  emit = () => {};
  destroy = () => {};
  removeAllListeners = () => (this.listener = () => {});
  add = (text) => this.listener(JSON.parse(text));
}

const commands = {
  heard: ({ who, count }) => ledger(who).reach(count),
  emit: ({ who, nsp, args }) => void sockets.get(`${who} ${nsp}`).emit(...unpack(args)),
  ask: ({ who, nsp, args }) =>
    new Promise((resolve, reject) => {
      const done = (error, ...values) => (error ? reject(error) : resolve(values));
      sockets.get(`${who} ${nsp}`).timeout(PATIENCE).emit(...unpack(args), done);
    }),
  leave: ({ who, nsp, close }) => void sockets.get(`${who} ${nsp}`).disconnect(close),
  raw: ({ who, text }) => void sessions.get(who).send(text),
  cut: ({ who }) => void sessions.get(who).close(true),
  mute({ who }) {
    clearTimeout(sessions.get(who).pingIntervalTimer);
    clearTimeout(sessions.get(who).pingTimeoutTimer);
  },
  state({ who, nsp }) {
    const { id, handshake, rooms, connected } = sockets.get(`${who} ${nsp}`);
    const { auth, query, headers } = handshake;
    return { id, auth, query, headers, rooms: [...rooms], connected };
  },
  // to a room, so that the adapter keeps it for those who are away
  publish: ({ room, args }) => void recovery.to(room).emit(...unpack(args)),
};

async function obey(request, response) {
  let body = "";
  for await (const chunk of request) body += chunk;
  let answer;
  try {
    const { do: name, ...command } = JSON.parse(body);
    answer = { value: pack((await commands[name](command)) ?? null) };
  } catch (error) {
    answer = { error: String(error.stack) };
  }
  response.end(JSON.stringify(answer));
}

const http = createServer((request, response) => {
  if (request.url === "/control") obey(request, response);
  else if (!request.url.includes("socket.io")) response.writeHead(404).end();
});
serve("/socket.io");
serve("/quick.socket.io", { pingInterval: 100, pingTimeout: 100 });
serve("/parsed.socket.io", { parser: { Encoder, Decoder } });
serve("/msgpack.socket.io", { parser: msgpack });
const recovery = serve("/recovery.socket.io", { connectionStateRecovery: { maxDisconnectionDuration: 10_000 } });
recovery.on("connection", (socket) => socket.join(`room of ${socket.handshake.query.who}`));
serve("/brief.socket.io", { connectionStateRecovery: { maxDisconnectionDuration: 1 } });
http.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ port: http.address().port })));
process.stdin.resume().on("close", () => process.exit());
