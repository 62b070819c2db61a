//! One page.

use std::{sync::Arc, time::Duration};

use actix::prelude::*;
use actix_web_actors::ws;
use serde::Deserialize;
use serde_json::json;

use crate::hub::{Hub, Place};

/// How often a page gets new records.
const EVERY: Duration = Duration::from_millis(100);

/// A message of a page.
#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
enum Request {
    /// The page has shown the last batch.
    Seen,
    Connect,
    Disconnect,
    Emit {
        id: u64,
        namespace: String,
        event: String,
        arguments: Vec<serde_json::Value>,
        ack: bool,
    },
}

pub(crate) struct Viewer {
    hub: Arc<Hub>,
    place: Place,
    /// Whether the page has not shown the last batch yet. Until then it gets no other: a slow page misses
    /// more, and nothing piles up.
    is_busy: bool,
}

impl Viewer {
    pub(crate) fn new(hub: Arc<Hub>) -> Self {
        Self { hub, place: Place::default(), is_busy: false }
    }

    fn request(&mut self, request: Request, ctx: &mut ws::WebsocketContext<Self>) {
        match request {
            Request::Seen => self.is_busy = false,
            Request::Connect => self.hub.client().socket().connect(),
            Request::Disconnect => self.hub.client().socket().disconnect(),
            Request::Emit { id, namespace, event, arguments, ack } => {
                let hub = Arc::clone(&self.hub);
                let emitted = async move { hub.emit(&namespace, &event, arguments, ack).await };
                ctx.spawn(emitted.into_actor(self).map(move |outcome, _, ctx| {
                    ctx.text(
                        match outcome {
                            Ok(answer) => json!({ "emitted": { "id": id, "answer": answer } }),
                            Err(error) => json!({ "emitted": { "id": id, "error": error } }),
                        }
                        .to_string(),
                    );
                }));
            }
        }
    }
}

impl Actor for Viewer {
    type Context = ws::WebsocketContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.text(self.hub.hello());
        ctx.run_interval(EVERY, |viewer, ctx| {
            if !viewer.is_busy {
                viewer.is_busy = true;
                ctx.text(viewer.hub.batch(&mut viewer.place));
            }
        });
    }
}

impl StreamHandler<Result<ws::Message, ws::ProtocolError>> for Viewer {
    fn handle(&mut self, message: Result<ws::Message, ws::ProtocolError>, ctx: &mut Self::Context) {
        match message {
            Ok(ws::Message::Text(text)) => match serde_json::from_str(&text) {
                Ok(request) => self.request(request, ctx),
                Err(_) => ctx.stop(),
            },
            Ok(ws::Message::Ping(data)) => ctx.pong(&data),
            Ok(ws::Message::Close(_)) | Err(_) => ctx.stop(),
            Ok(_) => {}
        }
    }
}
