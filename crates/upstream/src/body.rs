//! The bodies on their way, both directions: as they come, in the pace of who takes them.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::{Body, Bytes};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::{
    Flight,
    address::{Pass, Sender},
    breaker::Outcome,
};

/// How far a request's body is, for who wonders why there is no answer.
#[derive(Default)]
pub(crate) struct Progress {
    /// The client is to send more.
    waits: AtomicBool,
    ended: AtomicBool,
}

impl Progress {
    pub(crate) fn waits_for_client(&self) -> bool {
        self.waits.load(Ordering::Relaxed)
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

/// A request's body.
pub(crate) struct Outgoing {
    body: Body,
    /// Nothing when there is no body.
    progress: Option<Arc<Progress>>,
}

impl Outgoing {
    pub(crate) fn new(body: Body) -> (Self, Option<Arc<Progress>>) {
        let progress: Option<Arc<Progress>> = (!body.is_end_stream()).then(Arc::default);
        let outgoing = Self {
            body,
            progress: progress.clone(),
        };
        (outgoing, progress)
    }
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let poll = Pin::new(&mut self.body).poll_frame(cx);
        if let Some(progress) = &self.progress {
            let ended = matches!(poll, Poll::Ready(None)) || self.body.is_end_stream();
            progress.waits.store(poll.is_pending(), Ordering::Relaxed);
            progress.ended.store(ended, Ordering::Relaxed);
        }
        poll
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A client that lets an answer wait for so long is slow: it may be why the upstream gives up.
const SLOW: Duration = Duration::from_secs(1);

/// What an answer holds on to until its last byte.
pub(crate) struct Held {
    pub(crate) pass: Pass,
    pub(crate) _flight: Flight,
    pub(crate) sender: Option<Sender>,
}

impl Held {
    /// The answer was read whole: its connection can take another request.
    fn finish(&mut self) {
        if let Some(sender) = self.sender.take() {
            self.pass.address.keep(sender);
        }
    }
}

pin_project! {
    /// An answer's body. Ends when it pauses for too long, or with the process for a stream
    /// that has no end of its own.
    pub(crate) struct Answer {
        body: Incoming,
        patience: Duration,
        // Runs while the upstream is waited for.
        #[pin]
        pause: Option<Sleep>,
        #[pin]
        stop: Option<WaitForCancellationFutureOwned>,
        // When the client was last given something, and whether it once took long to ask for more.
        given: Option<Instant>,
        slow: bool,
        // Nothing once the body has ended.
        held: Option<Held>,
    }

    impl PinnedDrop for Answer {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            // Whoever writes a body of known length does not ask for its end.
            if this.body.is_end_stream() && let Some(held) = this.held {
                held.finish();
            }
        }
    }
}

impl Answer {
    pub(crate) fn new(
        body: Incoming,
        patience: Duration,
        stop: Option<WaitForCancellationFutureOwned>,
        mut held: Held,
    ) -> Self {
        let ended = body.is_end_stream();
        if ended {
            held.finish();
        }
        Self {
            body,
            patience,
            pause: None,
            stop,
            given: None,
            slow: false,
            held: (!ended).then_some(held),
        }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut this = self.project();
        *this.slow |= this.given.take().is_some_and(|at| at.elapsed() > SLOW);
        match Pin::new(&mut *this.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.pause.set(None);
                *this.given = Some(Instant::now());
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                if let Some(mut held) = this.held.take()
                    && !*this.slow
                {
                    held.pass.record(Outcome::Failed);
                }
                Poll::Ready(Some(Err(axum::Error::new(error))))
            }
            Poll::Ready(None) => {
                if let Some(mut held) = this.held.take() {
                    held.finish();
                }
                Poll::Ready(None)
            }
            Poll::Pending => {
                let stopped = this.stop.as_mut().as_pin_mut().map(|stop| stop.poll(cx));
                if stopped.is_some_and(|stopped| stopped.is_ready()) {
                    this.held.take();
                    return Poll::Ready(None);
                }
                if this.pause.is_none() {
                    let until = Instant::now() + *this.patience;
                    this.pause.set(Some(tokio::time::sleep_until(until)));
                }
                let pause = this.pause.as_mut().as_pin_mut().expect("set above");
                ready!(pause.poll(cx));
                if let Some(mut held) = this.held.take() {
                    held.pass.record(Outcome::Failed);
                }
                let why = "the upstream sent nothing for too long";
                Poll::Ready(Some(Err(axum::Error::new(std::io::Error::other(why)))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
