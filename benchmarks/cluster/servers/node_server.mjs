// One server of Node with its Redis adapter: node node_server.mjs REDIS_URL PORT.

import { createRequire } from "node:module";
import { createServer } from "node:http";

const require = createRequire(new URL("../../../tests/js/package.json", import.meta.url));
const { Server } = require("socket.io");
const { createAdapter } = require("@socket.io/redis-adapter");
const { createClient } = require("redis");

const SIZE = 64; // bytes of a message

const [url, port] = process.argv.slice(2);
const publishing = createClient({ url });
const subscribing = publishing.duplicate();
await Promise.all([publishing.connect(), subscribing.connect()]);
const server = createServer();
const io = new Server(server, {
  adapter: createAdapter(publishing, subscribing),
  serveClient: false,
  perMessageDeflate: false,
});
io.engine.on("connection", (connection) => {
  connection.request = null; // its manual's advice: keep no first request in memory
});

io.on("connection", (socket) => {
  socket.on("join", (room, ack) => {
    socket.join(room);
    ack();
  });
  socket.on("burst", (room, first, count) => {
    for (let number = first; number < first + count; number++) {
      io.to(room).emit("said", String(number).padStart(10, "0") + "x".repeat(SIZE - 10));
    }
  });
  socket.on("stamp", (room, number) => {
    const clock = String(process.hrtime.bigint()).padStart(20, "0");
    io.to(room).emit("said", String(number).padStart(10, "0") + clock + "x".repeat(SIZE - 30));
  });
});
server.listen(Number(port), "127.0.0.1", () => console.log("ready"));
