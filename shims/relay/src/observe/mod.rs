//! Figures and health of a relay over HTTP, for those who look after it.
//!
//! `GET /metrics` gives figures in the text format of OpenMetrics, which Prometheus reads, and
//! `GET /health` says 200 while the relay takes clients and 503 from when it was asked to stop.
//! Both are for everybody who can reach the address, so it should be a local one.

mod metrics;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tracing::debug;

use crate::Reporter;

/// Connections at a time. Others wait.
const MAX_CONNECTIONS: usize = 16;
/// Time for the header of a request to come, and for everything about it.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);

/// Answers until it is dropped.
#[derive(Debug)]
pub struct Observer {
    local: SocketAddr,
    task: AbortHandle,
}

impl Observer {
    /// Listens on an address for those who want to know about a relay; port 0 lets the system
    /// choose.
    ///
    /// Must be called on a tokio runtime, which answers from then on.
    pub async fn bind(address: SocketAddr, reporter: Reporter) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let local = listener.local_addr()?;
        let task = tokio::spawn(accept(listener, reporter)).abort_handle();
        Ok(Self { local, task })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, reporter: Reporter) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let reporter = reporter.clone();
                tokio::spawn(async move {
                    let _ = tokio::time::timeout(CONNECTION_TIMEOUT, talk(stream, reporter)).await;
                    drop(place);
                });
            }
            // Such as too many open files: it may be better soon.
            Err(error) => {
                debug!(%error, "nobody can ask for figures");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn talk(stream: TcpStream, reporter: Reporter) {
    let service = service_fn(move |request: Request<_>| {
        let reporter = reporter.clone();
        async move {
            let (method, path) = (request.method(), request.uri().path());
            Ok::<_, Infallible>(answer(method, path, &reporter).await)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        debug!(%error, "a request for figures failed");
    }
}

async fn answer(method: &Method, path: &str, reporter: &Reporter) -> Response<Full<Bytes>> {
    const TEXT: &str = "text/plain; charset=utf-8";
    let (status, kind, body) = match path {
        "/metrics" | "/health" if !matches!(*method, Method::GET | Method::HEAD) => {
            (StatusCode::METHOD_NOT_ALLOWED, TEXT, String::new())
        }
        "/metrics" => match metrics::text(reporter.report().await) {
            Ok(text) => (StatusCode::OK, metrics::CONTENT_TYPE, text),
            Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, TEXT, String::new()),
        },
        "/health" if reporter.is_accepting() => (StatusCode::OK, TEXT, "ok\n".to_owned()),
        "/health" => (StatusCode::SERVICE_UNAVAILABLE, TEXT, "leaving\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, TEXT, "there are /metrics and /health\n".to_owned()),
    };
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}
