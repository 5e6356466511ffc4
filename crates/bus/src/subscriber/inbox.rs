//! What a subscription has handled: watermarks per subject, ids for events without order.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use kernel::Envelope;
use sqlx::{PgConnection, PgPool, Row};
use uuid::Uuid;

use super::Standing;
use crate::schema::{Schema, safe, statements};

statements! {
    /// What an inbox runs.
    InboxStatements {
        watermarks: "
            SELECT topic, subject, keyseq FROM {schema}.inbox
             WHERE subscription = $1
               AND (topic, subject) IN (SELECT * FROM unnest($2::text[], $3::text[]))",
        known_ids: "
            SELECT id FROM {schema}.inbox_ids WHERE subscription = $1 AND id = ANY($2)",
        mark: "
            INSERT INTO {schema}.inbox (subscription, topic, subject, keyseq)
            SELECT $1, * FROM unnest($2::text[], $3::text[], $4::bigint[])
            ON CONFLICT (subscription, topic, subject) DO UPDATE SET keyseq = excluded.keyseq
             WHERE inbox.keyseq < excluded.keyseq",
        mark_ids: "
            INSERT INTO {schema}.inbox_ids (subscription, id) SELECT $1, unnest($2::uuid[])
            ON CONFLICT DO NOTHING",
        clear: "DELETE FROM {schema}.inbox WHERE subscription = $1",
        clear_ids: "DELETE FROM {schema}.inbox_ids WHERE subscription = $1",
        forget_ids: "
            DELETE FROM {schema}.inbox_ids
             WHERE subscription = $1 AND handled_at < clock_timestamp() - make_interval(secs => $2)",
    }
}

/// The inbox of one subscription.
#[derive(Debug)]
pub(crate) struct Inbox {
    subscription: String,
    statements: InboxStatements,
}

/// What was handled before, as far as it concerns a batch.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    watermarks: HashMap<(String, String), i64>,
    ids: HashSet<Uuid>,
}

/// What a transaction has handled. Sorted, so that rows are locked in one order.
#[derive(Debug, Default)]
pub(crate) struct Marks<'a> {
    watermarks: BTreeMap<(&'a str, &'a str), i64>,
    ids: Vec<Uuid>,
}

impl Seen {
    pub(super) fn insert(&mut self, event: &Envelope) {
        match event.keyseq {
            Some(keyseq) => {
                let key = (event.topic().to_owned(), event.subject.clone());
                self.watermarks.insert(key, keyseq);
            }
            None => {
                self.ids.insert(event.id.0);
            }
        }
    }

    fn watermark(&self, event: &Envelope) -> Option<i64> {
        let key = (event.topic().to_owned(), event.subject.clone());
        self.watermarks.get(&key).copied()
    }

    pub(super) fn contains(&self, event: &Envelope) -> bool {
        match event.keyseq {
            Some(keyseq) => self.watermark(event).is_some_and(|last| keyseq <= last),
            None => self.ids.contains(&event.id.0),
        }
    }
}

impl<'a> Marks<'a> {
    pub(crate) fn of(event: &'a Envelope) -> Self {
        let mut marks = Self::default();
        marks.insert(event);
        marks
    }

    pub(super) fn insert(&mut self, event: &'a Envelope) {
        match event.keyseq {
            Some(keyseq) => {
                self.watermarks
                    .insert((event.topic(), &event.subject), keyseq);
            }
            None => self.ids.push(event.id.0),
        }
    }
}

impl Inbox {
    pub(crate) fn new(schema: &Schema, subscription: &str) -> Self {
        Self {
            subscription: subscription.to_owned(),
            statements: InboxStatements::new(schema),
        }
    }

    pub(super) async fn seen(
        &self,
        conn: &mut PgConnection,
        events: &[Envelope],
    ) -> Result<Seen, sqlx::Error> {
        let mut seen = Seen::default();
        let ordered = events.iter().filter(|e| e.keyseq.is_some());
        let keys: HashSet<_> = ordered.map(|e| (e.topic(), &*e.subject)).collect();
        if !keys.is_empty() {
            let (topics, subjects): (Vec<_>, Vec<_>) = keys.into_iter().unzip();
            let rows = sqlx::query(safe(&self.statements.watermarks))
                .bind(&self.subscription)
                .bind(topics)
                .bind(subjects)
                .fetch_all(&mut *conn)
                .await?;
            for row in rows {
                let key = (row.try_get("topic")?, row.try_get("subject")?);
                seen.watermarks.insert(key, row.try_get("keyseq")?);
            }
        }
        let unordered = events.iter().filter(|e| e.keyseq.is_none());
        let ids: Vec<Uuid> = unordered.map(|e| e.id.0).collect();
        if !ids.is_empty() {
            let known: Vec<Uuid> = sqlx::query_scalar(safe(&self.statements.known_ids))
                .bind(&self.subscription)
                .bind(ids)
                .fetch_all(conn)
                .await?;
            seen.ids.extend(known);
        }
        Ok(seen)
    }

    pub(crate) async fn mark(
        &self,
        conn: &mut PgConnection,
        marks: &Marks<'_>,
    ) -> Result<(), sqlx::Error> {
        if !marks.watermarks.is_empty() {
            let (mut topics, mut subjects, mut keyseqs) = (Vec::new(), Vec::new(), Vec::new());
            for ((topic, subject), keyseq) in &marks.watermarks {
                topics.push(*topic);
                subjects.push(*subject);
                keyseqs.push(*keyseq);
            }
            sqlx::query(safe(&self.statements.mark))
                .bind(&self.subscription)
                .bind(topics)
                .bind(subjects)
                .bind(keyseqs)
                .execute(&mut *conn)
                .await?;
        }
        if !marks.ids.is_empty() {
            sqlx::query(safe(&self.statements.mark_ids))
                .bind(&self.subscription)
                .bind(&marks.ids)
                .execute(conn)
                .await?;
        }
        Ok(())
    }

    /// Everything counts as new again.
    pub(crate) async fn clear(&self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        for statement in [&self.statements.clear, &self.statements.clear_ids] {
            sqlx::query(safe(statement))
                .bind(&self.subscription)
                .execute(&mut *conn)
                .await?;
        }
        Ok(())
    }

    /// Forgets ids of unordered events that no transport repeats any more.
    pub(crate) async fn forget_ids(
        &self,
        pool: &PgPool,
        keep: Duration,
    ) -> Result<(), sqlx::Error> {
        sqlx::query(safe(&self.statements.forget_ids))
            .bind(&self.subscription)
            .bind(keep.as_secs_f64())
            .execute(pool)
            .await?;
        Ok(())
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    Duplicate,
    Next,
    /// An event of the subject is missing before it, with this number or a later one.
    Gap {
        expected: i64,
    },
}

/// Is this the event that follows the last one of its subject?
pub(super) fn arrival(seen: &Seen, event: &Envelope, standing: &Standing) -> Arrival {
    let Some(keyseq) = event.keyseq else {
        return if seen.contains(event) {
            Arrival::Duplicate
        } else {
            Arrival::Next
        };
    };
    let last = seen.watermark(event).unwrap_or_default();
    // What came before it may lie before the subscription's beginning.
    let start = standing.start_of(event.topic());
    if keyseq <= last {
        Arrival::Duplicate
    } else if keyseq == last + 1 || event.keyprevpos.is_some_and(|previous| previous <= start) {
        Arrival::Next
    } else {
        Arrival::Gap { expected: last + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::State, *};

    fn event(keyseq: Option<i64>, keyprevpos: Option<i64>) -> Envelope {
        let json = serde_json::json!({
            "id": Uuid::nil(), "source": "shop", "type": "shop.order.placed.v1", "subject": "a",
            "time": "2026-01-01T00:00:00Z", "pos": 100, "keyseq": keyseq, "keyprevpos": keyprevpos,
            "traceparent": "", "correlationid": "", "data": {},
        });
        serde_json::from_str(&json.to_string()).unwrap()
    }

    fn standing(start: i64) -> Standing {
        Standing {
            pos: start,
            reached: start,
            start_pos: 10,
            topics: HashMap::from([("shop.order".to_owned(), start)]),
            state: State::Running,
            replay_until: None,
            last: None,
        }
    }

    #[test]
    fn an_event_is_new_next_or_too_early() {
        let standing = standing(50);
        let at = |watermark: Option<i64>| {
            let mut seen = Seen::default();
            if let Some(keyseq) = watermark {
                seen.insert(&event(Some(keyseq), None));
            }
            seen
        };
        let cases = [
            (None, Some(1), None, Arrival::Next),
            (None, Some(7), Some(50), Arrival::Next),
            (None, Some(7), Some(51), Arrival::Gap { expected: 1 }),
            (Some(6), Some(7), Some(51), Arrival::Next),
            (Some(7), Some(7), Some(51), Arrival::Duplicate),
            (Some(9), Some(7), Some(51), Arrival::Duplicate),
            (Some(4), Some(7), Some(51), Arrival::Gap { expected: 5 }),
            // The topic was left out for a while.
            (Some(4), Some(7), Some(49), Arrival::Next),
        ];
        for (watermark, keyseq, keyprevpos, expected) in cases {
            let arrived = arrival(&at(watermark), &event(keyseq, keyprevpos), &standing);
            assert_eq!(arrived, expected, "{watermark:?} {keyseq:?} {keyprevpos:?}");
        }
    }

    #[test]
    fn an_event_without_order_is_known_by_its_id() {
        let standing = standing(0);
        let mut seen = Seen::default();
        assert_eq!(arrival(&seen, &event(None, None), &standing), Arrival::Next);
        seen.insert(&event(None, None));
        assert_eq!(
            arrival(&seen, &event(None, None), &standing),
            Arrival::Duplicate
        );
    }
}
