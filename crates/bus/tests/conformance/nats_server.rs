//! A throw-away NATS server for the run.

use std::{
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

/// Names the server to a process of its own that a case starts.
const URL: &str = "CONFORMANCE_NATS_URL";

static SERVER: Mutex<Option<(Child, String)>> = Mutex::new(None);

/// Where it listens; it is started by whoever asks first.
pub(crate) async fn url() -> String {
    if let Ok(url) = std::env::var(URL) {
        return url;
    }
    tokio::task::spawn_blocking(start)
        .await
        .expect("nats-server starts")
}

fn start() -> String {
    let mut server = SERVER.lock().unwrap();
    let (_, url) = server.get_or_insert_with(|| {
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let store = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("conformance-nats");
        let _ = std::fs::remove_dir_all(&store);
        let child = Command::new(
            std::env::var_os("BANYAN_NATS_SERVER").unwrap_or_else(|| "nats-server".into()),
        )
        .args(["-a", "127.0.0.1", "-p", &port.to_string(), "-js", "-sd"])
        .arg(&store)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("nats-server is installed: scripts/install-nats.sh does it");
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "nats-server listens"
            );
            std::thread::yield_now();
        }
        (child, format!("nats://127.0.0.1:{port}"))
    });
    url.clone()
}

pub(crate) fn stop() {
    if let Some((mut child, _)) = SERVER.lock().unwrap().take() {
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// For a process of its own: the same server.
pub(crate) fn environment() -> Option<(&'static str, String)> {
    let server = SERVER.lock().unwrap();
    server.as_ref().map(|(_, url)| (URL, url.clone()))
}
