//! Where a subscription stands, and where it begins.

use std::collections::HashMap;

use kernel::Start;
use sqlx::{Row, types::Json};
use uuid::Uuid;

use super::Subscriber;
use crate::{
    failpoint::{self, Point},
    schema::{safe, statements},
    source::{Error, Source},
};

statements! {
    /// What makes a subscription known.
    StandingStatements {
        declare: "
            INSERT INTO {schema}.subscriptions (name, publisher, start_pos, pos)
            VALUES ($1, $2, $3, $3) ON CONFLICT DO NOTHING",
        load: "
            SELECT pos, start_pos, topics, state, replay_until, last_pos, last_id
              FROM {schema}.subscriptions WHERE name = $1",
        // What lies before belongs to a time when nobody here asked for it. A topic that an older
        // release does not know stays: it may hold the subscription for a while yet.
        learn: "
            UPDATE {schema}.subscriptions
               SET topics = (SELECT jsonb_object_agg(topic, pos) FROM unnest($2::text[]) AS topic)
                            || topics
             WHERE name = $1 AND NOT topics ?& $2::text[]",
    }
}

/// Where a subscription stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Everything up to here was handled or copied to a lane.
    pub pos: i64,
    /// Up to here nothing is left that it wants. A transaction for each stretch of such events would
    /// cost a flush to disk, so `pos` follows with the next batch, or when it is told.
    pub reached: i64,
    /// Events up to here were before its time.
    pub start_pos: i64,
    /// The same for each topic, none before `start_pos`.
    pub topics: HashMap<String, i64>,
    pub state: State,
    /// Events up to here took effect before the last replay.
    pub replay_until: Option<i64>,
    /// The last event that was taken, and its position.
    pub last: Option<(i64, Uuid)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Running,
    /// By hand.
    Paused,
    /// To be set back to its start.
    Replaying,
}

impl State {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Replaying => "replaying",
        }
    }
}

impl Standing {
    pub(super) fn stand_at(&mut self, pos: i64) {
        self.pos = pos;
        self.reached = pos;
    }

    /// Events of the topic up to here were before the subscription's time.
    pub(crate) fn start_of(&self, topic: &str) -> i64 {
        self.topics.get(topic).copied().unwrap_or(self.start_pos)
    }

    /// Is what lies up to `pos` fed again?
    pub(crate) fn replays(&self, pos: i64) -> bool {
        self.replay_until.is_some_and(|until| pos <= until)
    }
}

impl Subscriber {
    /// Makes the subscription known, from its start in the publisher's log, and learns where it
    /// stands and which lanes it holds; to be called when the lease was taken.
    pub async fn begin(&self, log: &dyn Source) -> Result<Standing, Error> {
        let mut standing = self.load().await?;
        if standing.is_none() {
            self.declare(log).await?;
        }
        let topics = self.topics.as_deref().unwrap_or_default();
        let knows = |s: &Standing| topics.iter().all(|topic| s.topics.contains_key(topic));
        if !standing.as_ref().is_some_and(knows) {
            self.learn(topics).await?;
            standing = self.load().await?;
        }
        self.load_held().await?;
        Ok(standing.ok_or(sqlx::Error::RowNotFound)?)
    }

    /// Is it still the log that was read? Positions are given anew in one that was set back.
    ///
    /// # Errors
    /// When the log has another event where this subscription took its last. A publisher that is away
    /// cannot be asked, which is no error.
    pub(crate) async fn agree(&self, log: &dyn Source, standing: &Standing) -> Result<(), Error> {
        let Some((pos, id)) = standing.last else {
            return Ok(());
        };
        let looked = async {
            let page = log.read(pos - 1, pos, None, 1).await?;
            Ok(match page.events.first() {
                Some(event) => event.id.0 == id,
                // Past keeping, unless it was never there.
                None => log.head().await? >= pos,
            })
        };
        match looked.await {
            Ok(true) => Ok(()),
            Err(Error::Transport(error)) => {
                tracing::debug!(error, "the publisher cannot be asked for the last event");
                Ok(())
            }
            Err(error) => Err(error),
            Ok(false) => Err(Error::OtherLog(format!(
                "it took the event {id} at position {pos}, which is not in the log of {}: that was \
                 brought back from a backup, or is another's (docs/nats.md)",
                self.subscription.publisher
            ))),
        }
    }

    async fn declare(&self, log: &dyn Source) -> Result<(), Error> {
        let start = match self.subscription.start {
            Start::Oldest => log.before_oldest().await?,
            Start::Now => log.head().await?,
        };
        // Before our own row: the log must not be trimmed between the two.
        let start = log.hold(&self.cursor_name(), start).await?;
        failpoint::reach(self.holder, Point::SubscriptionAnnounced).await;
        sqlx::query(safe(&self.standing.declare))
            .bind(self.name())
            .bind(&self.subscription.publisher)
            .bind(start)
            .execute(self.db.bus_pool())
            .await?;
        Ok(())
    }

    async fn learn(&self, topics: &[String]) -> Result<(), sqlx::Error> {
        sqlx::query(safe(&self.standing.learn))
            .bind(self.name())
            .bind(topics)
            .execute(self.db.bus_pool())
            .await?;
        Ok(())
    }

    /// Where it stands, if it is known.
    pub async fn load(&self) -> Result<Option<Standing>, sqlx::Error> {
        let row = sqlx::query(safe(&self.standing.load))
            .bind(self.name())
            .fetch_optional(self.db.bus_pool())
            .await?;
        row.map(|row| {
            let pos = row.try_get("pos")?;
            Ok(Standing {
                pos,
                reached: pos,
                start_pos: row.try_get("start_pos")?,
                topics: row.try_get::<Json<_>, _>("topics")?.0,
                state: match row.try_get("state")? {
                    "running" => State::Running,
                    "replaying" => State::Replaying,
                    _ => State::Paused,
                },
                replay_until: row.try_get("replay_until")?,
                last: Option::zip(row.try_get("last_pos")?, row.try_get("last_id")?),
            })
        })
        .transpose()
    }
}
