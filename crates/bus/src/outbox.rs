//! The outbox: where a business transaction leaves its events.

use kernel::{db::Outgoing, event::topic_of};
use sqlx::PgConnection;

use crate::schema::{Schema, safe, statements};

statements! {
    /// What a publishing transaction runs.
    OutboxStatements {
        // Numbers are taken in sorted order, so that two transactions cannot deadlock over them;
        // and before the rows' own `seq`, so that `seq` agrees with them per subject.
        insert: "
            WITH taken AS (
                INSERT INTO {schema}.event_keys AS k (topic, subject, last_keyseq)
                SELECT topic, subject, count(*)
                  FROM unnest($2::text[], $4::text[], $5::boolean[]) AS e (topic, subject, ordered)
                 WHERE ordered
                 GROUP BY topic, subject
                 ORDER BY topic, subject
                ON CONFLICT (topic, subject)
                DO UPDATE SET last_keyseq = k.last_keyseq + excluded.last_keyseq
                RETURNING topic, subject, last_keyseq
            ), events AS (
                SELECT e.*,
                       row_number() OVER (PARTITION BY topic, subject, ordered ORDER BY nr) AS nth,
                       count(*) OVER (PARTITION BY topic, subject, ordered) AS of
                  FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::boolean[],
                              $6::timestamptz[], $7::text[], $8::text[])
                       WITH ORDINALITY
                       AS e (id, topic, type, subject, ordered, time, context, data, nr)
            )
            INSERT INTO {schema}.outbox (id, topic, type, subject, keyseq, time, context, data)
            SELECT e.id, e.topic, e.type, e.subject, t.last_keyseq - e.of + e.nth,
                   e.time, e.context::json, e.data::json
              FROM events e
              LEFT JOIN taken t
                ON e.ordered AND t.topic = e.topic AND t.subject = e.subject
             ORDER BY e.nr",
    }
}

/// Writes events as the last statement of their transaction.
#[derive(Debug)]
pub struct Outbox {
    statements: OutboxStatements,
}

impl Outbox {
    pub fn new(schema: &Schema) -> Self {
        Self {
            statements: OutboxStatements::new(schema),
        }
    }

    pub async fn write(
        &self,
        conn: &mut PgConnection,
        events: &[Outgoing],
    ) -> Result<(), sqlx::Error> {
        let contexts: Vec<String> = events
            .iter()
            .map(|e| serde_json::to_string(&e.context).expect("a context is plain data"))
            .collect();
        sqlx::query(safe(&self.statements.insert))
            .bind(events.iter().map(|e| e.id.0).collect::<Vec<_>>())
            .bind(
                events
                    .iter()
                    .map(|e| topic_of(e.event_type))
                    .collect::<Vec<_>>(),
            )
            .bind(events.iter().map(|e| e.event_type).collect::<Vec<_>>())
            .bind(events.iter().map(|e| &*e.subject).collect::<Vec<_>>())
            .bind(events.iter().map(|e| e.ordered).collect::<Vec<_>>())
            .bind(events.iter().map(|e| e.time).collect::<Vec<_>>())
            .bind(contexts)
            .bind(events.iter().map(|e| e.data.get()).collect::<Vec<_>>())
            .execute(conn)
            .await?;
        Ok(())
    }
}
