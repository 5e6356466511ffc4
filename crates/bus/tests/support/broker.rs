//! A throw-away NATS server for the run.

use std::{path::PathBuf, sync::Mutex};

use nats_server::NatsServer;

/// Names the server to a process of its own that a case starts.
const URL: &str = "CONFORMANCE_NATS_URL";

static SERVER: Mutex<Option<NatsServer>> = Mutex::new(None);

/// Where it listens; it is started by whoever asks first.
pub(crate) async fn url() -> String {
    if let Ok(url) = std::env::var(URL) {
        return url;
    }
    let start = || {
        let mut server = SERVER.lock().unwrap();
        let server = server.get_or_insert_with(|| {
            let store = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("conformance-nats");
            let _ = std::fs::remove_dir_all(&store);
            NatsServer::start(&store, []).expect("nats-server starts")
        });
        server.url()
    };
    tokio::task::spawn_blocking(start).await.expect("a server")
}

pub(crate) fn stop() {
    SERVER.lock().unwrap().take();
}

/// For a process of its own: the same server.
pub(crate) fn environment() -> Option<(&'static str, String)> {
    let server = SERVER.lock().unwrap();
    server.as_ref().map(|server| (URL, server.url()))
}
