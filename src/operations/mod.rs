//! The door for those who run an installation: health, metrics, fingerprints of the configuration, and
//! what modules serve to other processes. It listens apart from the public address, and whoever reaches
//! it may have all of that: access is by network alone.

mod metrics;
mod process;
mod samples;

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    http::header,
    response::{IntoResponse, Response},
    routing::{any, get},
};
use futures::FutureExt;
use kernel::Problem;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::{
    gateway::{self, Gateway, health, server, trace},
    shipping::Counters,
};

pub struct Operations {
    gateway: Arc<Gateway>,
    /// Of the process's shipper of log records, if it has one.
    shipped: Option<Arc<Counters>>,
    samples: samples::Samples,
    started: process::Started,
}

impl Operations {
    pub fn new(gateway: Arc<Gateway>, shipped: Option<Arc<Counters>>) -> Arc<Self> {
        let started = process::Started::now(&gateway.app.world);
        Arc::new(Self {
            gateway,
            shipped,
            samples: samples::Samples::default(),
            started,
        })
    }

    /// Serves until the token is cancelled.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) {
        let config = self.gateway.app.config.host.server.clone();
        let health = Router::new()
            .route("/health/live", get(health::live))
            .route("/health/ready", get(health::ready))
            .with_state(Arc::clone(&self.gateway));
        let router = Router::new()
            .route("/metrics", get(metrics::serve))
            .route("/config", get(configuration))
            .route("/internal/{*rest}", any(internal))
            .with_state(Arc::clone(&self))
            .merge(health)
            .fallback(|| async { Problem::not_found() })
            .method_not_allowed_fallback(|| async { Problem::method_not_allowed() });
        let answer = move |peer, request| {
            let (this, router) = (Arc::clone(&self), router.clone());
            async move {
                let answer = |request| async {
                    let answer = |request| router.oneshot(request).map(Result::into_response);
                    let answer = gateway::within_bounds(&this.gateway.app, request, answer);
                    let mut answer = answer.await;
                    this.gateway.security.ours(&mut answer);
                    answer
                };
                trace::serve(&this.gateway, peer, request, answer).await
            }
        };
        server::accept(listener, answer, &config, None, stop).await;
    }
}

/// What `banyan config show` prints: secrets are fingerprints, by which two processes can be compared.
async fn configuration(State(this): State<Arc<Operations>>) -> Response {
    let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    (kind, this.gateway.app.config.show()).into_response()
}

async fn internal(State(this): State<Arc<Operations>>, request: Request) -> Response {
    let answer = this.gateway.answer_internal(request).await;
    answer.unwrap_or_else(Problem::into_response)
}
