// The benchmark's events, for both servers in JavaScript; z is the zod of the one that asks.

export function listen(io, z) {
  const item = z.object({ sku: z.string(), quantity: z.int(), price: z.int() });
  const form = z.object({ id: z.int(), customer: z.string(), items: z.array(item), note: z.string().nullable() });

  io.on("connection", (socket) => {
    socket.on("echo", (payload, ack) => ack(payload));
    socket.on("say", (payload) => io.emit("said", payload));
    socket.on("join", (room, ack) => {
      socket.join(room);
      ack();
    });
    socket.on("tell", (room, payload) => io.to(room).emit("said", payload));
    socket.on("order", (payload, ack) => {
      const order = form.safeParse(payload);
      if (!order.success) return ack("invalid");
      const total = order.data.items.reduce((sum, { quantity, price }) => sum + quantity * price, 0);
      ack({ id: order.data.id, total });
    });
  });
}
