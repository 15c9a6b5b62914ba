// Peer server: socket.io on Bun, with the engine made for Bun's own HTTP and WebSocket server.

import { Server as Engine } from "@socket.io/bun-engine";
import { Server } from "socket.io";
import * as z from "zod";
import { listen } from "../events.mjs";

const io = new Server({ serveClient: false });
const engine = new Engine({ path: "/socket.io/" });
io.bind(engine);
engine.on("connection", (connection) => {
  connection.request = null; // socket.io's manual's advice: keep no first request in memory
});
listen(io, z);
Bun.serve({ hostname: "127.0.0.1", port: Number(process.argv[2]), ...engine.handler() });
console.log("ready");
