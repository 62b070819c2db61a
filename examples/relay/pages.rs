//! The pages `/health` and `/metrics`.

use std::{net::SocketAddr, sync::Arc};

use actix_web::{
    App, HttpResponse, HttpServer, Responder, dev::Server, http::header::CACHE_CONTROL, web,
};
use serde::Serialize;

/// How the daemon is doing.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Health {
    pub(crate) worker: String,
    /// The last error of the engine, until it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) engine: Option<String>,
    pub(crate) upstreams: Vec<UpstreamHealth>,
}

/// How an upstream is doing, as this worker knows it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct UpstreamHealth {
    pub(crate) name: String,
    /// The worker that holds it.
    pub(crate) holder: Option<String>,
    /// Whether that is this one.
    pub(crate) held_here: bool,
    /// Whether this worker has joined the namespace.
    pub(crate) joined: bool,
    /// Of the last record that this worker has stored.
    pub(crate) stored: Option<u64>,
    /// Seconds since the last event came to this worker.
    pub(crate) last_event: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

impl UpstreamHealth {
    /// Events come: here, or to another worker, which answers for itself.
    fn is_well(&self) -> bool {
        if self.held_here { self.joined } else { self.holder.is_some() }
    }
}

impl Health {
    fn is_well(&self) -> bool {
        self.engine.is_none() && self.upstreams.iter().all(UpstreamHealth::is_well)
    }
}

/// What the pages show.
pub(crate) trait Source: Send + Sync + 'static {
    fn health(&self) -> Health;
    /// In the text format of Prometheus.
    fn metrics(&self) -> String;
}

async fn health<S: Source>(source: web::Data<S>) -> impl Responder {
    let health = source.health();
    let mut response = match health.is_well() {
        true => HttpResponse::Ok(),
        false => HttpResponse::ServiceUnavailable(),
    };
    response.insert_header((CACHE_CONTROL, "no-store")).json(health)
}

async fn metrics<S: Source>(source: web::Data<S>) -> impl Responder {
    HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(source.metrics())
}

/// Serves the pages at this address. The caller awaits the server, and stops it.
pub(crate) fn serve<S: Source>(source: Arc<S>, address: SocketAddr) -> Result<Server, String> {
    let source = web::Data::from(source);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(source.clone())
            .route("/health", web::get().to(health::<S>))
            .route("/metrics", web::get().to(metrics::<S>))
    })
    .workers(1)
    // The relay hands over before the pages go.
    .disable_signals()
    .shutdown_timeout(1)
    .bind(address)
    .map_err(|error| format!("it cannot listen on {address}: {error}; http is another address"))?;
    for address in server.addrs() {
        println!("http://{address}");
    }
    Ok(server.run())
}
