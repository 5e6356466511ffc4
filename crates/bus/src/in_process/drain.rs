//! Everything that is pending, now: for tests and tools.

use super::{Attached, InProcess, follow::Step};
use crate::{lag, subscriber::Subscriber};

impl InProcess {
    /// Delivers what is pending in this process and everything that follows from it, now: retries
    /// do not wait for their time. For tests and tools; a running process uses [`run`](Self::run).
    pub async fn deliver_pending(&self) -> Result<(), sqlx::Error> {
        loop {
            let modules = self.modules();
            let mut moved = false;
            for attached in &modules {
                attached.leases.keep().await?;
                let before = attached.tail.borrow().head();
                while self.sequence(attached, true).await? {}
                moved |= attached.tail.borrow().head() != before;
            }
            for attached in &modules {
                for subscriber in &attached.subscribers {
                    moved |= self.deliver_to(attached, subscriber).await?;
                }
            }
            self.advance_broadcasts().await?;
            if !moved {
                return Ok(());
            }
        }
    }

    async fn deliver_to(
        &self,
        attached: &Attached,
        subscriber: &Subscriber,
    ) -> Result<bool, sqlx::Error> {
        let Some(publisher) = self.publisher(&subscriber.subscription().publisher) else {
            return Ok(false);
        };
        let Some(epoch) = attached.leases.epoch(subscriber.lease()) else {
            return Ok(false);
        };
        let mut standing = subscriber.begin(&publisher.log).await?;
        let mut moved = false;
        loop {
            match self
                .step(subscriber, &publisher, &mut standing, epoch, true)
                .await?
            {
                Step::Moved => moved = true,
                Step::Fenced => {
                    let before = standing;
                    standing = subscriber.begin(&publisher.log).await?;
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
    pub async fn lag(&self) -> Result<Vec<lag::Lag>, sqlx::Error> {
        let mut lags = Vec::new();
        for attached in self.modules() {
            lags.push(lag::unsequenced(&attached.db).await?);
            for subscriber in &attached.subscribers {
                if let Some(publisher) = self.publisher(&subscriber.subscription().publisher) {
                    lags.push(lag::unhandled(&publisher.db, subscriber).await?);
                }
            }
        }
        Ok(lags)
    }
}
