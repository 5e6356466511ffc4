use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use super::*;
use crate::store::test_database::TestDatabase;

/// A row of everything that there can be of a person.
async fn fill(conn: &mut PgConnection, user_id: UserId, email: &str) {
    let rows = format!(
        r#"INSERT INTO notification.recipient_accounts VALUES ('{id}', '{email}', 'en', now());
        INSERT INTO notification.recipient_profiles VALUES ('{id}', 'Ada', 'en', 'UTC');
        INSERT INTO notification.preferences VALUES ('{id}', 1, '{{product.email}}', now());
        INSERT INTO notification.counters VALUES ('{id}', 1);
        INSERT INTO notification.notifications
            (id, user_id, number, kind, data, idempotency_key, event_id, created_at)
        VALUES (gen_random_uuid(), '{id}', 1, 'welcome', '{{}}', 'welcome:{id}',
                gen_random_uuid(), now());
        INSERT INTO notification.deliveries
            (id, channel, user_id, address, template, locale, data, urgent, idempotency_key,
             message_id, expires_at, traceparent, correlation_id, event_id, created_at,
             next_attempt_at)
        SELECT gen_random_uuid(), 'email', owner, address, 'welcome', 'en', '{{}}', false,
               gen_random_uuid(), '<1>', now(), '', '', gen_random_uuid(), now(), now()
          FROM (VALUES ('{id}'::uuid, '{email}'), (NULL, upper('{email}'))) AS d (owner, address);
        INSERT INTO notification.attempts (delivery_id, number, outcome, reply, ended_at)
        SELECT id, 1, 'failed', '550 {email}: no such mailbox', now()
          FROM notification.deliveries WHERE lower(address) = '{email}';
        INSERT INTO notification.suppressions
        VALUES (gen_random_uuid(), '{email}', 'bounce', '{email}: no such mailbox',
                gen_random_uuid(), now(), now());
        INSERT INTO notification.mailbox
        VALUES (gen_random_uuid(), gen_random_uuid(), '{email}', 's', 't', 'h', now());
        INSERT INTO notification.idempotency_keys
        VALUES ('service:shop', gen_random_uuid(), sha256('x'), 202,
                '{{"recipient": "{id}"}}', now());"#,
        id = user_id.0
    );
    sqlx::raw_sql(AssertSqlSafe(rows))
        .execute(conn)
        .await
        .expect("they are written");
}

/// In how many rows of the whole schema a text stands, whatever tables there are.
async fn found(conn: &mut PgConnection, text: &str) -> i64 {
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT table_name::text FROM information_schema.tables
          WHERE table_schema = 'notification' AND table_type = 'BASE TABLE'",
    )
    .fetch_all(&mut *conn)
    .await
    .expect("tables are listed");
    let mut found = 0;
    for table in tables {
        let count = format!(
            "SELECT count(*) FROM notification.{table} AS t
              WHERE position(lower($1) IN lower(t::text)) > 0"
        );
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(count))
            .bind(text)
            .fetch_one(&mut *conn)
            .await
            .expect("a number");
        found += count;
    }
    found
}

#[tokio::test]
async fn nothing_of_an_erased_person_is_left_and_all_of_the_others() {
    let database = TestDatabase::start().await;
    let mut conn = database.pool.acquire().await.expect("a connection");
    let (ada, bob) = (UserId(Uuid::from_u128(1)), UserId(Uuid::from_u128(2)));
    fill(&mut conn, ada, "ada@example.org").await;
    fill(&mut conn, bob, "bob@example.org").await;
    let bobs = (
        found(&mut conn, &bob.to_string()).await,
        found(&mut conn, "bob@example.org").await,
    );
    assert_eq!(bobs, (7, 7), "each table has something of him");

    for _ in 0..2 {
        erase(&mut conn, ada).await.expect("it is done");
        for text in [ada.to_string(), "ada@example.org".to_owned()] {
            assert_eq!(found(&mut conn, &text).await, 0, "{text}");
        }
    }
    assert_eq!(found(&mut conn, &bob.to_string()).await, bobs.0);
    assert_eq!(found(&mut conn, "bob@example.org").await, bobs.1);
    drop(conn);
    database.stop().await;
}
