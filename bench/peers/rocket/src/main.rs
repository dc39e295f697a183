//! The broadcast server of the usual tutorial: connections in managed state behind a mutex, and handlers for
//! open, message and close. With channels, a map of rooms instead of one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use rocket::futures::stream::SplitSink;
use rocket::futures::{SinkExt, StreamExt};
use rocket::tokio::sync::Mutex;
use rocket::State;
use rocket_ws::{stream::DuplexStream, Channel, Message, WebSocket};

type Sender = SplitSink<DuplexStream, Message>;

/// Who is in which room. A connection in several rooms is listed in each, so its sender is kept apart.
#[derive(Default)]
struct Connections {
    senders: HashMap<usize, Sender>,
    rooms: HashMap<String, Vec<usize>>,
}

#[derive(Default)]
struct Server {
    next_id: AtomicUsize,
    connections: Mutex<Connections>,
}

impl Server {
    async fn opened(&self, sender: Sender, rooms: &[String]) -> usize {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let mut connections = self.connections.lock().await;
        connections.senders.insert(id, sender);
        for room in rooms {
            connections.rooms.entry(room.clone()).or_default().push(id);
        }
        id
    }

    async fn received(&self, message: Message, rooms: &[String]) {
        let mut connections = self.connections.lock().await;
        let Connections { senders, rooms: members } = &mut *connections;
        match rooms.first() {
            None => {
                for sender in senders.values_mut() {
                    let _ = sender.send(message.clone()).await;
                }
            }
            Some(room) => {
                for id in members.get(room).into_iter().flatten() {
                    if let Some(sender) = senders.get_mut(id) {
                        let _ = sender.send(message.clone()).await;
                    }
                }
            }
        }
    }

    async fn closed(&self, id: usize, rooms: &[String]) {
        let mut connections = self.connections.lock().await;
        connections.senders.remove(&id);
        for room in rooms {
            if let Some(members) = connections.rooms.get_mut(room) {
                members.retain(|member| *member != id);
            }
        }
    }
}

#[rocket::get("/ws?<channel>")]
fn socket<'r>(ws: WebSocket, channel: Vec<String>, server: &'r State<Server>) -> Channel<'r> {
    ws.channel(move |stream| {
        Box::pin(async move {
            let (sender, mut receiver) = stream.split();
            let id = server.opened(sender, &channel).await;
            while let Some(Ok(message)) = receiver.next().await {
                if message.is_text() || message.is_binary() {
                    server.received(message, &channel).await;
                }
            }
            server.closed(id, &channel).await;
            Ok(())
        })
    })
}

#[rocket::launch]
fn launch() -> _ {
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let config = rocket::Config::figment()
        .merge(("address", variable("HOST")))
        .merge(("port", variable("PORT").parse::<u16>().expect("PORT is a number")))
        .merge(("log_level", "critical"));
    rocket::custom(config).manage(Server::default()).mount("/", rocket::routes![socket])
}
