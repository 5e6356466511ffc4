//! A wire between two processes that a test can cut.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Wire {
    Whole,
    /// Nothing gets through.
    Cut,
    /// What is asked arrives; the answer does not.
    LosesAnswers,
}

pub struct Relay {
    pub url: String,
    state: Arc<AtomicU8>,
    /// Ends with the relay.
    _accepting: JoinSet<()>,
}

impl Relay {
    pub async fn to(url: &str, state: Wire) -> Self {
        let to: SocketAddr = url
            .trim_start_matches("http://")
            .parse()
            .expect("an address");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let state = Arc::new(AtomicU8::new(state as u8));
        let mut accepting = JoinSet::new();
        let now = Arc::clone(&state);
        accepting.spawn(async move {
            let mut wires = JoinSet::new();
            while let Ok((from, _)) = listener.accept().await {
                wires.spawn(carry(from, to, Arc::clone(&now)));
            }
        });
        Self {
            url,
            state,
            _accepting: accepting,
        }
    }

    /// From now on, on connections that are open too.
    pub fn set(&self, wire: Wire) {
        self.state.store(wire as u8, Ordering::SeqCst);
    }
}

async fn carry(mut from: TcpStream, to: SocketAddr, state: Arc<AtomicU8>) {
    let Ok(mut to) = TcpStream::connect(to).await else {
        return;
    };
    let is = |wire: Wire| state.load(Ordering::SeqCst) == wire as u8;
    let (mut asked, mut answered) = ([0; 16 * 1024], [0; 16 * 1024]);
    loop {
        tokio::select! {
            read = from.read(&mut asked) => match read {
                Ok(n) if n > 0 && !is(Wire::Cut) => {
                    if to.write_all(&asked[..n]).await.is_err() {
                        return;
                    }
                }
                _ => return,
            },
            read = to.read(&mut answered) => match read {
                Ok(n) if n > 0 && is(Wire::Whole) => {
                    if from.write_all(&answered[..n]).await.is_err() {
                        return;
                    }
                }
                _ => return,
            },
        }
    }
}
