//! `notification.notifications` and the counters that number them.

use kernel::{EventId, UserId};
use serde_json::Value;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

/// A notification to be shown.
pub(crate) struct New<'a> {
    pub(crate) id: Uuid,
    pub(crate) user_id: UserId,
    pub(crate) kind: &'a str,
    pub(crate) data: &'a Value,
    pub(crate) idempotency_key: &'a str,
    pub(crate) event_id: EventId,
    /// The request of a service that it is part of.
    pub(crate) send_id: Option<Uuid>,
    pub(crate) created_at: OffsetDateTime,
}

/// Gives it the recipient's next number. False when its key has been used: then no number is.
pub(crate) async fn insert(conn: &mut PgConnection, new: &New<'_>) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "WITH counter AS (
             INSERT INTO notification.counters AS c (user_id, last_number)
             SELECT $2, 1
              WHERE NOT EXISTS (SELECT FROM notification.notifications
                                 WHERE idempotency_key = $5)
             ON CONFLICT (user_id) DO UPDATE SET last_number = c.last_number + 1
             RETURNING last_number
         )
         INSERT INTO notification.notifications
             (id, user_id, number, kind, data, idempotency_key, event_id, created_at, send_id)
         SELECT $1, $2, last_number, $3, $4, $5, $6, $7, $8 FROM counter",
        new.id,
        new.user_id.0,
        new.kind,
        new.data,
        new.idempotency_key,
        new.event_id.0,
        new.created_at,
        new.send_id
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A notification as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) id: Uuid,
    pub(crate) number: i64,
    pub(crate) kind: String,
    pub(crate) data: Value,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) read_at: Option<OffsetDateTime>,
}

/// Some notifications of a person, and what is true of all of them at that moment.
#[derive(Clone, Debug)]
pub(crate) struct Inbox {
    /// Counted up to 1,000: nobody reads a greater number, and each costs a step.
    pub(crate) unread_count: i64,
    pub(crate) last_number: i64,
    /// The language they have chosen, or registered in.
    pub(crate) locale: Option<String>,
    pub(crate) items: Vec<Stored>,
}

/// At most `limit` notifications before number `before`, newest first.
pub(crate) async fn before(
    conn: &mut PgConnection,
    user_id: UserId,
    before: Option<i64>,
    limit: i64,
) -> Result<Inbox, sqlx::Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT (SELECT count(*) FROM (
                      SELECT FROM notification.notifications
                       WHERE user_id = u.user_id AND read_at IS NULL
                       LIMIT 1000) AS unread) AS "unread_count!",
                  coalesce(c.last_number, 0) AS "last_number!",
                  coalesce(p.locale, a.locale) AS locale,
                  n.id AS "id?", n.number AS "number?", n.kind AS "kind?", n.data AS "data?",
                  n.created_at AS "created_at?", n.read_at
             FROM (SELECT $1::uuid AS user_id) AS u
             LEFT JOIN notification.counters AS c USING (user_id)
             LEFT JOIN notification.recipient_accounts AS a USING (user_id)
             LEFT JOIN notification.recipient_profiles AS p USING (user_id)
             LEFT JOIN LATERAL (
                 SELECT * FROM notification.notifications
                  WHERE user_id = u.user_id AND number < coalesce($2, 9223372036854775807)
                  ORDER BY number DESC
                  LIMIT $3) AS n ON true
            ORDER BY n.number DESC"#,
        user_id.0,
        before,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(Inbox::from_rows(rows))
}

/// At most `limit` notifications after number `after`, oldest first; none when there is no number.
pub(crate) async fn after(
    conn: &mut PgConnection,
    user_id: UserId,
    after: Option<i64>,
    limit: i64,
) -> Result<Inbox, sqlx::Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT (SELECT count(*) FROM (
                      SELECT FROM notification.notifications
                       WHERE user_id = u.user_id AND read_at IS NULL
                       LIMIT 1000) AS unread) AS "unread_count!",
                  coalesce(c.last_number, 0) AS "last_number!",
                  coalesce(p.locale, a.locale) AS locale,
                  n.id AS "id?", n.number AS "number?", n.kind AS "kind?", n.data AS "data?",
                  n.created_at AS "created_at?", n.read_at
             FROM (SELECT $1::uuid AS user_id) AS u
             LEFT JOIN notification.counters AS c USING (user_id)
             LEFT JOIN notification.recipient_accounts AS a USING (user_id)
             LEFT JOIN notification.recipient_profiles AS p USING (user_id)
             LEFT JOIN LATERAL (
                 SELECT * FROM notification.notifications
                  WHERE user_id = u.user_id AND number > $2
                  ORDER BY number
                  LIMIT $3) AS n ON true
            ORDER BY n.number"#,
        user_id.0,
        after,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(Inbox::from_rows(rows))
}

/// The inbox on every row, and a notification on each unless there is none.
struct Row {
    unread_count: i64,
    last_number: i64,
    locale: Option<String>,
    id: Option<Uuid>,
    number: Option<i64>,
    kind: Option<String>,
    data: Option<Value>,
    created_at: Option<OffsetDateTime>,
    read_at: Option<OffsetDateTime>,
}

impl Inbox {
    fn from_rows(rows: Vec<Row>) -> Self {
        let mut inbox = Self {
            unread_count: 0,
            last_number: 0,
            locale: None,
            items: Vec::new(),
        };
        for row in rows {
            inbox.unread_count = row.unread_count;
            inbox.last_number = row.last_number;
            inbox.locale = row.locale;
            if let (Some(id), Some(number), Some(kind), Some(data), Some(created_at)) =
                (row.id, row.number, row.kind, row.data, row.created_at)
            {
                let read_at = row.read_at;
                inbox.items.push(Stored {
                    id,
                    number,
                    kind,
                    data,
                    created_at,
                    read_at,
                });
            }
        }
        inbox
    }
}

/// What became of marking one as read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    Now,
    /// It was read before: nothing changes.
    Before,
    /// The person has no such notification.
    Missing,
}

pub(crate) async fn mark_read(
    conn: &mut PgConnection,
    user_id: UserId,
    id: Uuid,
    now: OffsetDateTime,
) -> Result<Mark, sqlx::Error> {
    let row = sqlx::query!(
        r#"WITH marked AS (
               UPDATE notification.notifications SET read_at = $3
                WHERE id = $1 AND user_id = $2 AND read_at IS NULL
               RETURNING id
           )
           SELECT EXISTS (SELECT FROM marked) AS "marked!",
                  EXISTS (SELECT FROM notification.notifications
                           WHERE id = $1 AND user_id = $2) AS "known!""#,
        id,
        user_id.0,
        now
    )
    .fetch_one(conn)
    .await?;
    Ok(match (row.marked, row.known) {
        (true, _) => Mark::Now,
        (false, true) => Mark::Before,
        (false, false) => Mark::Missing,
    })
}

/// Marks those up to a number as read, and tells how many that were.
pub(crate) async fn mark_all_read(
    conn: &mut PgConnection,
    user_id: UserId,
    until: i64,
    now: OffsetDateTime,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE notification.notifications SET read_at = $3
          WHERE user_id = $1 AND number <= $2 AND read_at IS NULL",
        user_id.0,
        until,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Deletes at most `limit` of those created before `before`.
pub(crate) async fn purge(
    conn: &mut PgConnection,
    before: OffsetDateTime,
    limit: i64,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "DELETE FROM notification.notifications
          WHERE id IN (SELECT id FROM notification.notifications
                        WHERE created_at < $1
                        LIMIT $2
                          FOR UPDATE SKIP LOCKED)",
        before,
        limit
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
