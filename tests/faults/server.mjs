// Node's own server for tests/faults: node server.mjs PORT. It says its port when it listens, and ends with its input.
//
// "note" is written to the file that the client names in its auth, as "session number", before it is answered with a
// "tick" and, if wanted, an ack. "count" makes it send numbered ticks to a room of the session's own, whether the client
// is there or not, until "enough", which is answered with their number.

import { openSync, writeSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";

const { Server } = createRequire(new URL("../js/package.json", import.meta.url))("socket.io");

const http = createServer();
const io = new Server(http, { connectionStateRecovery: { maxDisconnectionDuration: 60000 }, serveClient: false });
const files = new Map();
const rooms = new Map();

function write(path, line) {
  if (!files.has(path)) files.set(path, openSync(path, "a"));
  writeSync(files.get(path), line);
}

io.on("connection", (socket) => {
  const room = socket.data.room ?? (socket.data.room = socket.id);
  let ticks = 0;
  if (!socket.recovered) socket.join(room);
  socket.on("note", (number, answer) => {
    write(socket.handshake.auth.log, `${socket.id} ${number}\n`);
    socket.emit("tick", socket.id, ticks++);
    answer?.(number);
  });
  socket.on("silence", () => {});
  socket.on("count", () => {
    const counting = { number: 0 };
    counting.timer = setInterval(() => {
      for (let i = 0; i <= counting.number % 3; i++) io.to(room).emit("tick", room, counting.number++);
    }, 2);
    rooms.set(room, counting);
  });
  socket.on("enough", (answer) => {
    const counting = rooms.get(room);
    clearInterval(counting?.timer);
    answer(counting?.number);
  });
});

http.listen(Number(process.argv[2]), "127.0.0.1", () => console.log(http.address().port));
process.stdin.on("end", () => process.exit(0)).resume();
