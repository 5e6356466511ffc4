//! The audit trail.

use serde_json::value::RawValue;
use sqlx::{PgConnection, Postgres, QueryBuilder, types::Json};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::{
    chain::{Checkpoint, Content, Digest, Entry, Metadata, Salt},
    pattern::{containing, containing_in_json},
};

/// A holder of the head that falls silent in mid-transaction lets go of it after this: it may be a
/// process that was stopped, and nothing is entered until then.
const MAX_SILENCE_MILLISECONDS: &str = "10000";

/// The end of the chain, locked: one appender at a time, over all instances.
pub(crate) async fn lock_head(conn: &mut PgConnection) -> Result<Checkpoint, sqlx::Error> {
    sqlx::query_as!(
        Checkpoint,
        r#"SELECT seq, hash AS "hash: Digest"
             FROM logging.audit_head,
                  set_config('idle_in_transaction_session_timeout', $1, true)
              FOR NO KEY UPDATE OF audit_head"#,
        MAX_SILENCE_MILLISECONDS
    )
    .fetch_one(conn)
    .await
}

/// Which of a publisher's positions are entered already, and with which event.
pub(crate) async fn entered(
    conn: &mut PgConnection,
    publisher: &str,
    from_pos: i64,
    to_pos: i64,
) -> Result<Vec<(i64, Uuid)>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT pos, event_id FROM logging.audit_entries
          WHERE publisher = $1 AND pos BETWEEN $2 AND $3",
        publisher,
        from_pos,
        to_pos
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.pos, row.event_id))
        .collect())
}

/// Appends entries that follow the locked head, and moves it to the last of them.
pub(crate) async fn append(conn: &mut PgConnection, entries: &[Entry]) -> Result<(), sqlx::Error> {
    let Some(last) = entries.last() else {
        return Ok(());
    };
    fn each<'a, T>(entries: &'a [Entry], part: impl Fn(&'a Entry) -> T) -> Vec<T> {
        entries.iter().map(part).collect()
    }
    fn metadata<'a, T>(entries: &'a [Entry], part: impl Fn(&'a Metadata) -> T) -> Vec<T> {
        each(entries, |e| part(&e.metadata))
    }
    fn content<'a, T>(
        entries: &'a [Entry],
        part: impl Fn(&'a Content) -> Option<T>,
    ) -> Vec<Option<T>> {
        each(entries, |e| {
            e.content.as_ref().and_then(|(_, content)| part(content))
        })
    }
    sqlx::query!(
        "WITH appended AS (
            INSERT INTO logging.audit_entries
                (seq, version, publisher, pos, event_id, time, action, target, actor,
                 on_behalf_of, tenant, trace_id, correlation_id, causation_id, content_digest,
                 hash, salt, data, client_address, user_agent)
            SELECT seq, version, publisher, pos, event_id, time, action, target, actor,
                   on_behalf_of, tenant, trace_id, correlation_id, causation_id, content_digest,
                   hash, salt, data::json, client_address, user_agent
              FROM unnest($1::bigint[], $2::smallint[], $3::text[], $4::bigint[], $5::uuid[],
                          $6::timestamptz[], $7::text[], $8::text[], $9::text[], $10::text[],
                          $11::uuid[], $12::uuid[], $13::text[], $14::uuid[], $15::bytea[],
                          $16::bytea[], $17::bytea[], $18::text[], $19::text[], $20::text[])
                   AS e (seq, version, publisher, pos, event_id, time, action, target, actor,
                         on_behalf_of, tenant, trace_id, correlation_id, causation_id,
                         content_digest, hash, salt, data, client_address, user_agent)
             ORDER BY seq
         )
         UPDATE logging.audit_head SET seq = $21, hash = $22",
        &metadata(entries, |m| m.seq),
        &each(entries, |e| e.version),
        &metadata(entries, |m| &*m.publisher) as &[&str],
        &metadata(entries, |m| m.pos),
        &metadata(entries, |m| m.event_id),
        &metadata(entries, |m| m.time),
        &metadata(entries, |m| &*m.action) as &[&str],
        &metadata(entries, |m| &*m.target) as &[&str],
        &metadata(entries, |m| m.actor.as_deref()) as &[Option<&str>],
        &metadata(entries, |m| m.on_behalf_of.as_deref()) as &[Option<&str>],
        &metadata(entries, |m| m.tenant) as &[Option<Uuid>],
        &metadata(entries, |m| m.trace_id) as &[Option<Uuid>],
        &metadata(entries, |m| &*m.correlation_id) as &[&str],
        &metadata(entries, |m| m.causation_id) as &[Option<Uuid>],
        &each(entries, |e| &e.content_digest[..]) as &[&[u8]],
        &each(entries, |e| &e.hash[..]) as &[&[u8]],
        &each(entries, |e| e.content.as_ref().map(|(salt, _)| &salt[..])) as &[Option<&[u8]>],
        &content(entries, |c| Some(&*c.data)) as &[Option<&str>],
        &content(entries, |c| c.client_address.as_deref()) as &[Option<&str>],
        &content(entries, |c| c.user_agent.as_deref()) as &[Option<&str>],
        last.metadata.seq,
        &last.hash[..]
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Where the chain says it ends, and the number of the last entry there is.
#[derive(Debug)]
pub(crate) struct Ends {
    pub(crate) head: Checkpoint,
    pub(crate) last_seq: i64,
}

/// Both ends in one look: entries may be appended meanwhile.
pub(crate) async fn ends(conn: &mut PgConnection) -> Result<Option<Ends>, sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT h.seq, h.hash AS "hash: Digest",
                  coalesce((SELECT max(e.seq) FROM logging.audit_entries e), 0) AS "last_seq!"
             FROM logging.audit_head h"#
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Ends {
        head: Checkpoint {
            seq: row.seq,
            hash: row.hash,
        },
        last_seq: row.last_seq,
    }))
}

/// An entry's hash as it is stored.
pub(crate) async fn checkpoint(
    conn: &mut PgConnection,
    seq: i64,
) -> Result<Option<Checkpoint>, sqlx::Error> {
    sqlx::query_as!(
        Checkpoint,
        r#"SELECT seq, hash AS "hash: Digest" FROM logging.audit_entries WHERE seq = $1"#,
        seq
    )
    .fetch_optional(conn)
    .await
}

/// Entries in the order of the chain, `from` and `to` included.
pub(crate) async fn page(
    conn: &mut PgConnection,
    from: i64,
    to: i64,
    limit: i64,
) -> Result<Vec<Entry>, sqlx::Error> {
    sqlx::query!(
        r#"SELECT seq, version, publisher, pos, event_id, time, action, target, actor,
                  on_behalf_of, tenant, trace_id, correlation_id, causation_id,
                  content_digest AS "content_digest: Digest", hash AS "hash: Digest",
                  salt AS "salt: Salt", data::text AS data, client_address, user_agent
             FROM logging.audit_entries
            WHERE seq BETWEEN $1 AND $2
            ORDER BY seq
            LIMIT $3"#,
        from,
        to,
        limit
    )
    .map(|row| Entry {
        version: row.version,
        metadata: Metadata {
            seq: row.seq,
            publisher: row.publisher,
            pos: row.pos,
            event_id: row.event_id,
            time: row.time,
            action: row.action,
            target: row.target,
            actor: row.actor,
            on_behalf_of: row.on_behalf_of,
            tenant: row.tenant,
            trace_id: row.trace_id,
            correlation_id: row.correlation_id,
            causation_id: row.causation_id,
        },
        content: kept(row.salt, row.data, row.client_address, row.user_agent),
        content_digest: row.content_digest,
        hash: row.hash,
    })
    .fetch_all(conn)
    .await
}

/// None if all of it is gone. A part that was taken away leaves what no digest fits.
fn kept(
    salt: Option<Salt>,
    data: Option<String>,
    client_address: Option<String>,
    user_agent: Option<String>,
) -> Option<(Salt, Content)> {
    let erased =
        salt.is_none() && data.is_none() && client_address.is_none() && user_agent.is_none();
    (!erased).then(|| {
        let data = data.unwrap_or_default();
        (
            salt.unwrap_or_default(),
            Content {
                data,
                client_address,
                user_agent,
            },
        )
    })
}

/// What to list; a filter that is not set lets everything pass.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    pub(crate) actor: Option<String>,
    /// A type up to its version's number: every version of it.
    pub(crate) action_stem: Option<String>,
    /// A type with its version.
    pub(crate) action: Option<String>,
    pub(crate) target: Option<String>,
    pub(crate) trace_id: Option<Uuid>,
    /// In the data, the action, the actor or the target, in any case.
    pub(crate) text: Option<String>,
    pub(crate) from: Option<OffsetDateTime>,
    pub(crate) to: Option<OffsetDateTime>,
}

#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Row {
    pub(crate) seq: i64,
    pub(crate) time: OffsetDateTime,
    pub(crate) publisher: String,
    pub(crate) event_id: Uuid,
    pub(crate) action: String,
    pub(crate) actor: Option<String>,
    pub(crate) on_behalf_of: Option<String>,
    pub(crate) target: String,
    pub(crate) trace_id: Option<Uuid>,
    pub(crate) correlation_id: String,
    pub(crate) causation_id: Option<Uuid>,
    pub(crate) client_address: Option<String>,
    pub(crate) user_agent: Option<String>,
    pub(crate) data: Option<Json<Box<RawValue>>>,
    pub(crate) erased: bool,
}

impl Filter {
    /// Adds its conditions after others. Built at run time: what is not asked for costs nothing, and the
    /// planner sees which index fits.
    fn conditions(&self, sql: &mut QueryBuilder<Postgres>) {
        if let Some(actor) = &self.actor {
            sql.push(" AND actor = ").push_bind(actor.clone());
        }
        if let Some(stem) = &self.action_stem {
            sql.push(" AND rtrim(action, '0123456789') = ");
            sql.push_bind(stem.clone());
        }
        if let Some(action) = &self.action {
            sql.push(" AND action = ").push_bind(action.clone());
        }
        if let Some(target) = &self.target {
            sql.push(" AND target = ").push_bind(target.clone());
        }
        if let Some(id) = self.trace_id {
            sql.push(" AND trace_id = ").push_bind(id);
        }
        if let Some(from) = self.from {
            sql.push(" AND time >= ").push_bind(from);
        }
        if let Some(to) = self.to {
            sql.push(" AND time < ").push_bind(to);
        }
        if let Some(text) = &self.text {
            sql.push(" AND (data::text ILIKE ");
            sql.push_bind(containing_in_json(text));
            for column in ["action", "actor", "target"] {
                sql.push(format_args!(" OR {column} ILIKE "));
                sql.push_bind(containing(text));
            }
            sql.push(")");
        }
    }
}

const ROW: &str = "SELECT seq, time, publisher, event_id, action, actor, on_behalf_of, target, \
     trace_id, correlation_id, causation_id, client_address, user_agent, data, \
     salt IS NULL AS erased FROM logging.audit_entries WHERE ";

/// The newest entries before `before`.
pub(crate) async fn newest(
    conn: &mut PgConnection,
    filter: &Filter,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Row>, sqlx::Error> {
    let mut sql = QueryBuilder::new(ROW);
    sql.push("seq < ").push_bind(before.unwrap_or(i64::MAX));
    filter.conditions(&mut sql);
    sql.push(" ORDER BY seq DESC LIMIT ").push_bind(limit);
    sql.build_query_as().fetch_all(conn).await
}

/// The oldest entries after one, up to another.
pub(crate) async fn oldest(
    conn: &mut PgConnection,
    filter: &Filter,
    after: i64,
    until: i64,
    limit: i64,
) -> Result<Vec<Row>, sqlx::Error> {
    let mut sql = QueryBuilder::new(ROW);
    sql.push("seq > ").push_bind(after);
    sql.push(" AND seq <= ").push_bind(until);
    filter.conditions(&mut sql);
    sql.push(" ORDER BY seq LIMIT ").push_bind(limit);
    sql.build_query_as().fetch_all(conn).await
}
