//! The figures of a watch over HTTP: `/metrics` for Prometheus, `/health` for whoever keeps it running. Bound to
//! this machine unless told otherwise; knows the figures and nothing of the work.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use super::Pulse;
use crate::error::{During as _, Error, Result};

/// What Prometheus expects.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Reads `9187`, `:9187`, `127.0.0.1:9187` or `[::]:9187`; without an address, this machine's own.
pub fn address(text: &str) -> Result<SocketAddr> {
    if let Ok(port) = text.trim_start_matches(':').parse() {
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    text.parse().map_err(|_| {
        Error::new(format!("`{text}` is no address to serve metrics at")).remedy(
            "write a port (9187: this machine only) or an address with a port (0.0.0.0:9187: everybody)",
        )
    })
}

/// Listens, and answers in the background until the program ends; gives the address.
pub async fn start(address: SocketAddr, pulse: Arc<Pulse>) -> Result<SocketAddr> {
    let listener = TcpListener::bind(address).await.map_err(|cause| {
        Error::new(format!("cannot serve metrics at {address}"))
            .because(cause)
            .remedy("choose another port with --metrics")
    })?;
    let bound = listener.local_addr().during(|| "cannot tell where metrics are served".to_owned())?;
    let router =
        Router::new().route("/metrics", get(metrics)).route("/health", get(health)).with_state(pulse);
    // It ends with the program; a connection that fails is its client's concern.
    drop(tokio::spawn(async move { axum::serve(listener, router).await }));
    Ok(bound)
}

async fn metrics(State(pulse): State<Arc<Pulse>>) -> impl IntoResponse {
    match pulse.text() {
        Ok(text) => (StatusCode::OK, [(header::CONTENT_TYPE, OPEN_METRICS)], text),
        Err(error) => {
            (StatusCode::INTERNAL_SERVER_ERROR, [(header::CONTENT_TYPE, "text/plain")], error.to_string())
        }
    }
}

async fn health(State(pulse): State<Arc<Pulse>>) -> impl IntoResponse {
    match pulse.health() {
        Ok(text) => (StatusCode::OK, text + "\n"),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why + "\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn a_port_alone_is_this_machines_own() {
        for (text, address_of) in [
            ("9187", "127.0.0.1:9187"),
            (":9187", "127.0.0.1:9187"),
            ("0.0.0.0:9187", "0.0.0.0:9187"),
            ("[::1]:1", "[::1]:1"),
        ] {
            assert_eq!(address(text).expect("an address").to_string(), address_of);
        }
        for text in ["", "localhost", "9187/metrics", "70000"] {
            assert!(address(text).is_err(), "{text}");
        }
    }
}
