//! What a module's runtime role may not do to the record.

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::{
    case::Case,
    cluster::connect,
    language::{Numbered, OrderPlaced, desk, orders},
    transport::Transport,
};

const REFUSED: &str = "42501";

pub(crate) async fn the_record_cannot_be_rewritten<T: Transport>(case: &Case<T>) {
    let a = case.run(vec![orders(desk("orders"))]).await;
    a.publish((1..=5).map(|n| OrderPlaced::new("order", n)))
        .await;
    case.settled().await;
    let mut shop = connect(&case.database.runtime("shop")).await;
    // It may neither cut the log to pieces nor let it go early.
    let rolled: bool = sqlx::query_scalar("SELECT shop.roll_log('-1 day')")
        .fetch_one(&mut shop)
        .await
        .unwrap();
    assert!(!rolled);
    case.execute("SELECT shop.roll_log('0')").await;
    let trimmed: i32 = sqlx::query_scalar("SELECT shop.trim_log('-1 day')")
        .fetch_one(&mut shop)
        .await
        .unwrap();
    assert_eq!(trimmed, 0);
    a.publish((6..=9).map(|n| OrderPlaced::new("order", n)))
        .await;
    case.settled().await;

    for table in ["log", "log_from_1", "log_from_6"] {
        for statement in [
            format!("UPDATE shop.{table} SET data = '{{}}'"),
            format!("DELETE FROM shop.{table}"),
            format!("TRUNCATE shop.{table}"),
            format!("DROP TABLE shop.{table}"),
            format!("ALTER TABLE shop.{table} ADD COLUMN mine text"),
        ] {
            refused(&mut shop, &statement).await;
        }
    }
    for statement in [
        // Past the parent, a partition takes nothing either.
        "INSERT INTO shop.log_from_1 SELECT * FROM shop.log LIMIT 1",
        "DELETE FROM shop.log_partitions",
        "DELETE FROM shop.cursors",
        "UPDATE shop.log_partitions SET lower_pos = 0",
        "CREATE TABLE shop.mine (nr bigint)",
        "DROP FUNCTION shop.trim_log(interval)",
        "ALTER TABLE shop.log DETACH PARTITION shop.log_from_1",
    ] {
        refused(&mut shop, statement).await;
    }
    // Nor does one module see another's.
    let mut desk = connect(&case.database.runtime("desk")).await;
    for statement in [
        "SELECT FROM shop.log",
        "SELECT FROM shop.outbox",
        "SELECT shop.trim_log('0')",
        "SELECT shop.erase_from_log('order')",
    ] {
        refused(&mut desk, statement).await;
    }
    assert_eq!(case.count("SELECT count(*) FROM shop.log").await, 9);
    shop.close().await.unwrap();
    desk.close().await.unwrap();
    a.stop().await;
}

async fn refused(connection: &mut PgConnection, statement: &str) {
    let result = sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
        .execute(&mut *connection)
        .await;
    let error = result.expect_err(statement);
    let code = error
        .as_database_error()
        .and_then(|e| e.code().map(|c| c.into_owned()));
    assert_eq!(code.as_deref(), Some(REFUSED), "{statement}: {error}");
}
