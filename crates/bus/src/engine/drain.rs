//! Everything that is pending, now: for tests and tools.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::timeout;

use super::{
    Attached, Bus,
    follow::{Step, begin},
};
use crate::{
    lag,
    source::{Error, Source},
    subscriber::Subscriber,
};

impl Bus {
    /// Delivers what is pending in this process and everything that follows from it, now: retries
    /// do not wait for their time. For tests and tools; a running process uses [`run`](Self::run).
    pub async fn deliver_pending(&self) -> Result<(), Error> {
        while self.deliver_some().await? {}
        Ok(())
    }

    /// One round of it. True when there was something to do.
    pub async fn deliver_some(&self) -> Result<bool, Error> {
        let modules = self.modules();
        let mut moved = false;
        for attached in &modules {
            attached.leases.keep().await?;
            let head = || attached.log.tail().borrow().head();
            let before = head();
            while self.sequence(attached, true).await? {}
            moved |= head() != before;
        }
        for attached in &modules {
            for subscriber in &attached.subscribers {
                moved |= self.deliver_to(attached, subscriber).await?;
            }
        }
        self.advance_broadcasts(true).await?;
        Ok(moved)
    }

    async fn deliver_to(
        &self,
        attached: &Attached,
        subscriber: &Subscriber,
    ) -> Result<bool, Error> {
        let Some(source) = self.source_for(subscriber) else {
            return Ok(false);
        };
        let Some(epoch) = attached.leases.epoch(subscriber.lease()) else {
            return Ok(false);
        };
        let mut standing = begin(subscriber, &*source).await?;
        let mut moved = false;
        loop {
            match self
                .step(subscriber, &*source, &mut standing, epoch, true)
                .await?
            {
                Step::Moved => moved = true,
                Step::Fenced => {
                    let before = standing;
                    standing = begin(subscriber, &*source).await?;
                    if standing == before {
                        return Ok(moved);
                    }
                }
                Step::Idle | Step::Stuck => {
                    subscriber.catch_up(&mut standing, epoch).await?;
                    return Ok(moved);
                }
            }
        }
    }

    /// How old the oldest event is that waits, per stage.
    pub async fn lag(&self) -> Result<Vec<lag::Lag>, Error> {
        self.lags(Duration::MAX).await.into_iter().collect()
    }

    /// The same, each stage for itself: one that cannot say within `patience` keeps the others from
    /// nothing.
    pub async fn lags(&self, patience: Duration) -> Vec<Result<lag::Lag, Error>> {
        let modules = self.modules();
        let of = modules.iter().map(|attached| async move {
            let late = |_| Err(Error::Transport("it did not say in time".to_owned()));
            let sequencer = async { Ok(lag::unsequenced(&attached.db).await?) };
            let mut lags = vec![timeout(patience, sequencer).await.unwrap_or_else(late)];
            for subscriber in &attached.subscribers {
                if let Some(source) = self.source_for(subscriber) {
                    let unhandled = lag::unhandled(&*source, subscriber);
                    lags.push(timeout(patience, unhandled).await.unwrap_or_else(late));
                }
            }
            lags
        });
        join_all(of).await.into_iter().flatten().collect()
    }
}
