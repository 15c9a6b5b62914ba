// Socket.IO's own client in Node.

import { io } from "socket.io-client";

const [port, kind, connections, inflight, size, warm, seconds] = process.argv.slice(2);
const payload = "x".repeat(Number(size));
let echoes = 0;
let over = false;

async function connected() {
  const socket = io(`http://127.0.0.1:${port}`, { transports: ["websocket"], forceNew: true });
  await new Promise((resolve, reject) => {
    socket.on("connect", resolve);
    socket.on("connect_error", reject);
  });
  return socket;
}

async function ask(socket) {
  while (!over) {
    await socket.emitWithAck("echo", payload);
    echoes++;
  }
}

function call(socket) {
  socket.emit("echo", payload, () => {
    echoes++;
    if (!over) call(socket);
  });
}

function answerAgain(socket) {
  socket.on("echo", (value) => {
    echoes++;
    if (!over) socket.emit("echo", value);
  });
}

const sleep = (time) => new Promise((resolve) => setTimeout(resolve, 1000 * time));
const now = () => Number(process.hrtime.bigint()) / 1e9;
const cpu = () => {
  const used = process.cpuUsage();
  return (used.user + used.system) / 1e6;
};

const sockets = [];
for (let i = 0; i < Number(connections); i++) sockets.push(await connected());
for (const socket of sockets) {
  if (kind === "event") answerAgain(socket);
  for (let i = 0; i < Number(inflight); i++) {
    if (kind === "event") socket.emit("echo", payload);
    else if (process.argv.includes("callback")) call(socket);
    else ask(socket);
  }
}
await sleep(Number(warm));
const before = [echoes, now(), cpu()];
await sleep(Number(seconds));
const time = now() - before[1];
const count = echoes - before[0];
console.log(JSON.stringify({ rate: count / time, cpu: (cpu() - before[2]) / Math.max(count, 1) }));
over = true;
process.exit(0);
