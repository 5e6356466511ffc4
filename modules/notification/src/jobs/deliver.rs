//! The worker that sends: claim, send with no transaction open, settle.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use anyhow::Context as _;
use async_trait::async_trait;
use contracts::notification::{MessageFailed, MessageSent};
use futures::FutureExt;
use kernel::{Db, Sealer, World, jobs::WorkerRun};
use time::OffsetDateTime;
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::{
    domain::{Backoff, Channel, Claimed, End, Locale, MailAddress, Message, Outcome, Unsubscriber},
    mail::{Frame, Mail, Mailer, SendError, content, render},
    store,
};

/// Deliveries begun in one run, so that the host gets a word in now and then.
const PER_RUN: usize = 256;
/// While mails are on their way, looks for more this often, even if nobody calls.
const POLL: Duration = Duration::from_secs(1);
/// What the column holds.
const MAX_ERROR_CHARS: usize = 500;
/// Tries to write down what was sent, a second apart: giving up means sending it again.
const SETTLE_TRIES: u32 = 5;

pub(crate) struct Deliver {
    pub(crate) db: Db,
    pub(crate) sender: Arc<Sender>,
    pub(crate) concurrency: usize,
    pub(crate) lease: Duration,
    /// How long an address that refused a mail for good is spared others.
    pub(crate) suppress_for: time::Duration,
    pub(crate) wake: Arc<Notify>,
    pub(crate) shutdown: CancellationToken,
}

#[async_trait]
impl WorkerRun for Deliver {
    async fn run(&self) -> anyhow::Result<bool> {
        let mut running = JoinSet::new();
        let (mut begun, mut more, mut failure) = (0, true, None);
        loop {
            // Claimed as places come free, and no more than those: a lease runs from the moment of
            // sending, and what is urgent waits for nobody's batch to end.
            let free = self.concurrency - running.len();
            let may_claim = failure.is_none() && begun < PER_RUN && !self.shutdown.is_cancelled();
            if more && free > 0 && may_claim {
                match self.claim(free).await {
                    Ok(claimed) => {
                        more = claimed.len() == free;
                        begun += claimed.len();
                        for claimed in claimed {
                            running.spawn(Arc::clone(&self.sender).attempt(claimed));
                        }
                    }
                    // What is on its way is still seen through.
                    Err(error) => (more, failure) = (false, Some(error)),
                }
            }
            if running.is_empty() {
                break;
            }
            let mut tries = Vec::new();
            tokio::select! {
                Some(done) = running.join_next() => {
                    tries.push(done.context("a delivery was cancelled")?);
                    while let Some(done) = running.try_join_next() {
                        tries.push(done.context("a delivery was cancelled")?);
                    }
                }
                () = self.wake.notified() => more = true,
                () = sleep(POLL), if failure.is_none() => more = true,
            }
            if !tries.is_empty()
                && let Err(error) = self.settle(&tries).await
            {
                failure = Some(error);
            }
        }
        match failure {
            Some(error) => Err(error),
            None => Ok(more && !self.shutdown.is_cancelled()),
        }
    }

    async fn idle(&self) -> anyhow::Result<bool> {
        let mut conn = self.db.pool().acquire().await?;
        Ok(store::deliveries::is_idle(&mut conn, self.db.world().now()).await?)
    }
}

impl Deliver {
    async fn claim(&self, limit: usize) -> anyhow::Result<Vec<Claimed>> {
        let world = self.db.world();
        let mut conn = self.db.pool().acquire().await?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let claimed =
            store::deliveries::claim(&mut conn, world.uuid(), self.lease, world.now(), limit)
                .await?;
        Ok(claimed)
    }

    async fn settle(&self, tries: &[(Claimed, Outcome)]) -> anyhow::Result<()> {
        for remaining in (0..SETTLE_TRIES).rev() {
            match self.try_settle(tries).await {
                Ok(()) => return Ok(()),
                Err(error) if remaining == 0 => return Err(error),
                Err(error) => {
                    tracing::warn!(
                        error = format!("{error:#}"),
                        deliveries = tries.len(),
                        "outcomes of deliveries could not be written, trying again"
                    );
                    // Sends in flight go on meanwhile: they are tasks of their own.
                    sleep(Duration::from_secs(1)).await;
                }
            }
        }
        Ok(())
    }

    /// Status and event in one transaction.
    async fn try_settle(&self, tries: &[(Claimed, Outcome)]) -> anyhow::Result<()> {
        let world = self.db.world();
        let mut tx = self.db.begin().await?;
        let settled = store::deliveries::settle(&mut tx, tries, world.now()).await?;
        for (claimed, outcome) in tries {
            if let Outcome::Bounced { error } = outcome
                && settled.contains(&claimed.id)
            {
                self.suppress(&mut tx, claimed, error).await?;
            }
            // Each event belongs to the trace of its own message.
            claimed
                .context(world)
                .scope(async {
                    if settled.contains(&claimed.id) {
                        publish(&mut tx, claimed, outcome);
                    } else {
                        tracing::warn!(
                            delivery.id = %claimed.id,
                            "the lease ran out before the outcome was written: it does not count"
                        );
                    }
                })
                .await;
        }
        tx.commit().await?;
        Ok(())
    }
}

impl Deliver {
    async fn suppress(
        &self,
        tx: &mut kernel::Tx,
        claimed: &Claimed,
        error: &str,
    ) -> Result<(), sqlx::Error> {
        let world = self.db.world();
        let now = world.now();
        let new = store::suppressions::New {
            id: world.uuid(),
            address: &claimed.address,
            detail: error,
            delivery_id: claimed.id,
            created_at: now,
            expires_at: now + self.suppress_for,
        };
        store::suppressions::put(tx, &new).await
    }
}

fn publish(tx: &mut kernel::Tx, claimed: &Claimed, outcome: &Outcome) {
    let (message_id, user_id) = (claimed.id, claimed.user_id);
    let (channel, template) = (claimed.channel.clone(), claimed.template.clone());
    let attempts = claimed.attempt;
    let reason = match outcome.end() {
        None => return,
        Some(End::Sent) => {
            tx.publish(&MessageSent {
                message_id,
                user_id,
                channel,
                template,
                attempts,
            });
            return;
        }
        Some(End::Failed) => "gave_up",
        Some(End::Bounced) => "bounced",
        Some(End::Suppressed) => "suppressed",
        Some(End::Expired) => "expired",
        Some(End::Muted) => "muted",
    };
    let reason = reason.to_owned();
    tx.publish(&MessageFailed {
        message_id,
        user_id,
        channel,
        template,
        attempts,
        reason,
    });
}

/// What is needed to send one mail.
pub(crate) struct Sender {
    pub(crate) mailer: Box<dyn Mailer>,
    pub(crate) world: World,
    pub(crate) sealer: Sealer,
    pub(crate) frame: Frame,
    pub(crate) unsubscriber: Unsubscriber,
    pub(crate) backoff: Backoff,
    /// Longer than a mailer may take: one that never returns must not hold its place for ever.
    pub(crate) deadline: Duration,
}

impl Sender {
    /// One try, in the trace of the message. It never fails and never panics: whatever goes wrong
    /// is this delivery's outcome alone.
    async fn attempt(self: Arc<Self>, claimed: Claimed) -> (Claimed, Outcome) {
        let span = tracing::info_span!(
            "notification.deliver",
            delivery.id = %claimed.id,
            delivery.attempt = claimed.attempt,
            template = claimed.template,
        );
        let context = claimed.context(&self.world);
        let outcome = context.scope(self.outcome(&claimed).instrument(span)).await;
        (claimed, outcome)
    }

    async fn outcome(&self, claimed: &Claimed) -> Outcome {
        let now = self.world.now();
        if claimed.expires_at <= now {
            tracing::warn!("message expired before it was sent");
            return Outcome::Expired;
        }
        if claimed.attempt > self.backoff.max_attempts {
            let error = "the process was lost while it was being sent, each time";
            tracing::error!(error, "message given up");
            return Outcome::Failed {
                error: error.to_owned(),
            };
        }
        // A later release may know what this one does not: it is tried again, not failed.
        let Some(message) = Message::from_columns(&claimed.template, &claimed.data) else {
            let error = SendError::temporary("this release does not know the template");
            return self.after_failure(claimed, now, &error);
        };
        if !claimed
            .preferences
            .allow(message.category(), Channel::Email)
        {
            tracing::info!("message not sent: its recipient has switched it off");
            return Outcome::Muted;
        }
        if claimed.suppressed && message.is_suppressible() {
            tracing::info!("message not sent: its address takes no mail");
            return Outcome::Suppressed;
        }
        let send = AssertUnwindSafe(timeout(self.deadline, self.send(claimed, message, now)));
        let error = match send.catch_unwind().await {
            Ok(Ok(Ok(reply))) => {
                tracing::info!("message sent");
                let reply = reply.map(|reply| reply.chars().take(MAX_ERROR_CHARS).collect());
                return Outcome::Sent { reply };
            }
            Ok(Ok(Err(error))) => error,
            Ok(Err(_)) => SendError::temporary("sending took too long"),
            // The words of a panic may quote what it stumbled over.
            Err(_) => SendError::temporary("sending panicked"),
        };
        self.after_failure(claimed, now, &error)
    }

    fn after_failure(&self, claimed: &Claimed, now: OffsetDateTime, error: &SendError) -> Outcome {
        let text: String = error.to_string().chars().take(MAX_ERROR_CHARS).collect();
        let chance = u32::from_le_bytes(self.world.bytes());
        match self.backoff.after(claimed.attempt, chance) {
            Some(wait) if !error.is_permanent => {
                tracing::warn!(error = error.for_logs(), "message not sent, trying again");
                // No later than its end, so that it ends when it should.
                Outcome::Retry {
                    at: (now + wait).min(claimed.expires_at),
                    error: text,
                }
            }
            _ => {
                tracing::error!(error = error.for_logs(), "message given up");
                if error.is_bounce {
                    Outcome::Bounced { error: text }
                } else {
                    Outcome::Failed { error: text }
                }
            }
        }
    }

    async fn send(
        &self,
        claimed: &Claimed,
        message: Message,
        now: OffsetDateTime,
    ) -> Result<Option<String>, SendError> {
        let to = MailAddress::parse(&claimed.address)
            .ok_or_else(|| SendError::permanent("the address is not one for SMTP"))?;
        let locale = Locale::nearest(&claimed.locale);
        let unsubscribe = claimed
            .user_id
            .and_then(|user_id| self.unsubscriber.token(user_id, message.category()))
            .map(|token| {
                let path = ["notifications", "unsubscribe"];
                self.frame.link(&path, &[("token", &token)])
            });
        let valid_for = claimed.expires_at - now;
        let content = content(message, locale, valid_for, &self.sealer, &self.frame)?;
        let content = render(&content, locale, &self.frame, unsubscribe.as_ref())
            .map_err(|error| SendError::temporary(format!("it cannot be rendered: {error}")))?;
        let mail = Mail {
            message_id: claimed.message_id.clone(),
            to,
            content,
            unsubscribe,
            date: now,
        };
        self.mailer.send(&mail).await
    }
}

#[cfg(test)]
mod tests;
