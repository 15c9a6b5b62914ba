//! Peer server: socketioxide on axum, on one thread.

use std::{env, error::Error, net::Ipv4Addr};

use axum::{Router, serve::ListenerExt};
use rmpv::Value;
use serde::{Deserialize, Serialize};
use socketioxide::{
    SocketIo,
    extract::{AckSender, Data, SocketRef, TryData},
};
use tokio::net::TcpListener;

#[derive(Deserialize)]
#[expect(dead_code, reason = "all fields are checked, not all are used")]
struct Item {
    sku: String,
    quantity: i64,
    price: i64,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "all fields are checked, not all are used")]
struct Order {
    id: i64,
    customer: String,
    items: Vec<Item>,
    #[serde(deserialize_with = "Option::deserialize")] // may be null, may not be missing
    note: Option<String>,
}

#[derive(Serialize)]
struct Receipt {
    id: i64,
    total: i64,
}

async fn connected(socket: SocketRef) {
    socket.on("echo", async |Data(payload): Data<Value>, ack: AckSender| {
        ack.send(&payload).ok();
    });
    socket.on("say", async |io: SocketIo, Data(payload): Data<Value>| {
        io.emit("said", &payload).await.ok();
    });
    socket.on("join", async |socket: SocketRef, Data(room): Data<String>, ack: AckSender| {
        socket.join(room);
        ack.send::<[(); 0]>(&[]).ok();
    });
    socket.on("tell", async |io: SocketIo, Data((room, payload)): Data<(String, Value)>| {
        io.to(room).emit("said", &payload).await.ok();
    });
    socket.on("order", async |TryData(order): TryData<Order>, ack: AckSender| {
        match order {
            Ok(Order { id, items, .. }) => {
                let total = items.iter().map(|item| item.quantity * item.price).sum();
                ack.send(&Receipt { id, total }).ok();
            }
            Err(_) => {
                ack.send("invalid").ok();
            }
        }
    });
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = env::args().nth(1).ok_or("which port?")?.parse()?;
    let (layer, io) = SocketIo::builder()
        .max_buffer_size(4096) // a broadcast to a full buffer would be lost
        .max_payload(1_000_000)
        .build_layer();
    io.ns("/", connected);

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?.tap_io(|stream| {
        stream.set_nodelay(true).ok();
    });
    println!("ready");
    axum::serve(listener, Router::new().layer(layer)).await?;
    Ok(())
}
