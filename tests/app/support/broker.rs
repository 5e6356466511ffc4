//! One throw-away NATS server for the test binary.

use std::{path::PathBuf, sync::Mutex};

use nats_server::NatsServer;

static SERVER: Mutex<Option<NatsServer>> = Mutex::new(None);

/// Where it listens; whoever asks first starts it. It ends with the test binary.
pub async fn url() -> String {
    let start = || {
        let mut server = SERVER.lock().expect("no holder panics");
        let server = server.get_or_insert_with(|| {
            let store = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
                .join(format!("nats-{}", std::process::id()));
            NatsServer::start(&store, []).expect("nats-server starts")
        });
        server.url()
    };
    tokio::task::spawn_blocking(start).await.expect("a server")
}
