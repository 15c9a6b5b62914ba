// Peer server: socket.io on Node, with ws and its native add-on.

import { createServer } from "node:http";
import { Server } from "socket.io";
import * as z from "zod";
import { listen } from "../events.mjs";

const server = createServer();
const io = new Server(server, { serveClient: false, perMessageDeflate: false });
io.engine.on("connection", (connection) => {
  connection.request = null; // its manual's advice: keep no first request in memory
});
listen(io, z);
server.listen(Number(process.argv[2]), "127.0.0.1", () => console.log("ready"));
