//! A connection that has changed its protocol: bytes, both ways, until one side has had enough.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// Time for the other side to say its last words.
const LAST_WORDS: Duration = Duration::from_secs(2);
const BUFFER_BYTES: usize = 8 * 1024;

/// Copies until one side closes, both are silent for `patience`, or the process stops. `held` is
/// given back then.
pub(crate) async fn join<T>(
    client: OnUpgrade,
    upstream: OnUpgrade,
    patience: Duration,
    stop: CancellationToken,
    held: T,
) {
    let both = async {
        let (client, upstream) = tokio::try_join!(client, upstream).ok()?;
        copy(client, upstream, patience).await;
        Some(())
    };
    tokio::select! {
        _ = both => {}
        () = stop.cancelled() => {}
    }
    drop(held);
}

async fn copy(client: Upgraded, upstream: Upgraded, patience: Duration) {
    let (mut client_reads, mut client_writes) = tokio::io::split(TokioIo::new(client));
    let (mut upstream_reads, mut upstream_writes) = tokio::io::split(TokioIo::new(upstream));
    let activity = Activity::new();
    let up = pipe(&mut client_reads, &mut upstream_writes, &activity);
    let down = pipe(&mut upstream_reads, &mut client_writes, &activity);
    let (mut up, mut down) = (std::pin::pin!(up), std::pin::pin!(down));
    tokio::select! {
        _ = &mut up => { let _ = tokio::time::timeout(LAST_WORDS, down).await; }
        _ = &mut down => { let _ = tokio::time::timeout(LAST_WORDS, up).await; }
        () = activity.silence(patience) => {}
    }
}

/// One direction, to its end; the end is passed on.
async fn pipe(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    activity: &Activity,
) -> io::Result<()> {
    let mut buffer = [0; BUFFER_BYTES];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        activity.seen();
        to.write_all(&buffer[..read]).await?;
        to.flush().await?;
        activity.seen();
    }
}

/// When the last byte passed, in either direction.
struct Activity {
    started: Instant,
    last_ms: AtomicU64,
}

impl Activity {
    fn new() -> Self {
        Self {
            started: Instant::now(),
            last_ms: AtomicU64::new(0),
        }
    }

    fn seen(&self) {
        let now = self.started.elapsed().as_millis();
        self.last_ms
            .store(u64::try_from(now).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Returns when nothing has passed for so long.
    async fn silence(&self, patience: Duration) {
        loop {
            let last = Duration::from_millis(self.last_ms.load(Ordering::Relaxed));
            let until = self.started + last + patience;
            if Instant::now() >= until {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }
}
