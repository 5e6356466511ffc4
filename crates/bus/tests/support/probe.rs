//! Looking into a case's database.

use sqlx::{AssertSqlSafe, PgPool, Row};
use uuid::Uuid;

/// A statement may meet a connection that the case has just had cut.
macro_rules! looking {
    ($result:expr, $statement:expr) => {
        match $result {
            Ok(found) => found,
            Err(error) => panic!("{error}: {}", $statement),
        }
    };
}

pub(crate) async fn count(pool: &PgPool, query: &str) -> i64 {
    looking!(
        sqlx::query_scalar(AssertSqlSafe(query.to_owned()))
            .fetch_one(pool)
            .await,
        query
    )
}

pub(crate) async fn execute(pool: &PgPool, statement: &str) {
    looking!(
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
            .execute(pool)
            .await,
        statement
    );
}

/// Takes all rows from the tables of the bus and of the suite.
pub(crate) async fn empty(pool: &PgPool) {
    let mut statements = String::new();
    for module in super::language::MODULES {
        for table in [
            "outbox",
            "log",
            "event_keys",
            "key_positions",
            "cursors",
            "leases",
            "subscriptions",
            "inbox",
            "inbox_ids",
            "parked",
            "effects",
            "totals",
            "orders",
        ] {
            statements += &format!("DELETE FROM {module}.{table};");
        }
        statements += &format!("UPDATE {module}.head SET pos = 0;");
    }
    execute(pool, &statements).await;
}

/// Nothing waits in an outbox, and each of the subscriptions stands at its publisher's head with
/// nothing to try again; in one snapshot.
pub(crate) async fn is_settled(pool: &PgPool, subscriptions: &[(&'static str, String)]) -> bool {
    let query = "
        WITH heads AS (SELECT 'shop' AS module, pos FROM shop.head
                       UNION ALL SELECT 'desk', pos FROM desk.head),
             subscriptions AS (SELECT 'shop' AS module, * FROM shop.subscriptions
                               UNION ALL SELECT 'desk', * FROM desk.subscriptions)
        SELECT NOT EXISTS (SELECT FROM shop.outbox) AND NOT EXISTS (SELECT FROM desk.outbox)
           AND NOT EXISTS (SELECT FROM shop.parked WHERE status = 'retrying')
           AND NOT EXISTS (SELECT FROM desk.parked WHERE status = 'retrying')
           AND cardinality($1::text[]) = (
                SELECT count(*) FROM subscriptions s JOIN heads h ON h.module = s.publisher
                 WHERE s.module || '.' || s.name = ANY($1)
                   AND s.state = 'running' AND s.pos = h.pos)";
    let names: Vec<_> = subscriptions
        .iter()
        .map(|(m, s)| format!("{m}.{s}"))
        .collect();
    looking!(
        sqlx::query_scalar(query).bind(names).fetch_one(pool).await,
        query
    )
}

pub(crate) async fn effects(pool: &PgPool, subscription: &str) -> Vec<(String, i64)> {
    let query = "SELECT subject, n FROM desk.effects WHERE subscription = $1 ORDER BY nr";
    looking!(
        sqlx::query_as(query)
            .bind(subscription)
            .fetch_all(pool)
            .await,
        query
    )
}

pub(crate) async fn assert_once(pool: &PgPool, subscription: &str, types: &[&str]) {
    let query = "SELECT id FROM shop.log WHERE type = ANY($1) ORDER BY id";
    let published: Vec<Uuid> = looking!(
        sqlx::query_scalar(query).bind(types).fetch_all(pool).await,
        query
    );
    let query = "SELECT id FROM desk.effects WHERE subscription = $1 ORDER BY id";
    let handled: Vec<Uuid> = looking!(
        sqlx::query_scalar(query)
            .bind(subscription)
            .fetch_all(pool)
            .await,
        query
    );
    assert!(!published.is_empty(), "nothing was published");
    if published != handled {
        let lost = published.iter().filter(|id| !handled.contains(id)).count();
        let twice = handled.windows(2).filter(|pair| pair[0] == pair[1]).count();
        panic!(
            "{subscription}: {} published, {} handled, {lost} lost, {twice} more than once\n{}",
            published.len(),
            handled.len(),
            state(pool).await
        );
    }
    let query = "
        SELECT count(*) FROM (
            SELECT l.keyseq, lag(l.keyseq) OVER (PARTITION BY l.topic, l.subject ORDER BY e.nr) AS before
              FROM desk.effects e JOIN shop.log l USING (id)
             WHERE e.subscription = $1 AND l.keyseq IS NOT NULL) AS pairs
         WHERE keyseq <= before";
    let disordered: i64 = looking!(
        sqlx::query_scalar(query)
            .bind(subscription)
            .fetch_one(pool)
            .await,
        query
    );
    assert_eq!(disordered, 0, "{subscription} handled events out of order");
}

/// Positions and the numbers of each subject are dense and agree, and each event tells rightly
/// what came before it.
pub(crate) async fn assert_log_is_sound(pool: &PgPool) {
    for module in super::language::MODULES {
        let query = format!(
            "SELECT
                (SELECT count(*) FROM (
                    SELECT pos - lag(pos) OVER (ORDER BY pos) AS step FROM {module}.log) AS steps
                  WHERE step <> 1) AS gaps,
                (SELECT count(*) FROM (
                    SELECT keyseq, pos, keyprevpos,
                           lag(keyseq) OVER subjects AS before, lag(pos) OVER subjects AS prevpos
                      FROM {module}.log WHERE keyseq IS NOT NULL
                    WINDOW subjects AS (PARTITION BY topic, subject ORDER BY pos)) AS chain
                  WHERE before IS NOT NULL AND (keyseq <> before + 1 OR keyprevpos <> prevpos)
                     OR before IS NULL AND (keyseq = 1) <> (keyprevpos IS NULL)) AS breaks,
                (SELECT count(*) FROM {module}.head
                  WHERE pos <> (SELECT coalesce(max(pos), 0) FROM {module}.log)
                    AND EXISTS (SELECT FROM {module}.log)) AS heads"
        );
        let row = looking!(
            sqlx::query(AssertSqlSafe(query.clone()))
                .fetch_one(pool)
                .await,
            query
        );
        for column in ["gaps", "breaks", "heads"] {
            assert_eq!(row.get::<i64, _>(column), 0, "{module}.log has {column}");
        }
    }
}

/// What there is to know when a case does not come to its end.
pub(crate) async fn state(pool: &PgPool) -> String {
    let mut text = String::new();
    for (what, query) in [
        (
            "heads",
            "SELECT to_json(h) FROM (SELECT s.pos AS shop, d.pos AS desk FROM shop.head s, desk.head d) h",
        ),
        (
            "outboxes",
            "SELECT to_json(o) FROM (SELECT (SELECT count(*) FROM shop.outbox) AS shop, (SELECT count(*) FROM desk.outbox) AS desk) o",
        ),
        (
            "desk.subscriptions",
            "SELECT to_json(s) FROM desk.subscriptions s",
        ),
        (
            "shop.subscriptions",
            "SELECT to_json(s) FROM shop.subscriptions s",
        ),
        (
            "desk.parked",
            "SELECT to_json(p) FROM (SELECT subscription, topic, lane, pos, status, attempts, deferrals, next_attempt_at, error FROM desk.parked ORDER BY pos LIMIT 20) p",
        ),
        ("desk.leases", "SELECT to_json(l) FROM desk.leases l"),
        ("shop.leases", "SELECT to_json(l) FROM shop.leases l"),
        ("now", "SELECT to_json(clock_timestamp())"),
        (
            "sessions",
            "SELECT to_json(a) FROM (SELECT pid, usename, state, wait_event_type, wait_event, xact_start, left(regexp_replace(query, '\\s+', ' ', 'g'), 100) AS query FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()) a",
        ),
    ] {
        let rows: Result<Vec<serde_json::Value>, _> =
            sqlx::query_scalar(query).fetch_all(pool).await;
        match rows {
            Ok(rows) => {
                for row in rows {
                    text += &format!("{what}: {row}\n");
                }
            }
            Err(error) => text += &format!("{what}: {error}\n"),
        }
    }
    text
}
