//! Two instances of everything: one stands still and wakes up, and all are exchanged one by one.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Executor};

use super::{load, load::Load};
use crate::support::split::{Split, names, seconds};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_wakes_up_late_changes_nothing() {
    let mut split = Split::start_doubled().await;
    let load = Load::start(&split, 3);
    load.more(2).await;
    // Whichever of two holds the leases: both have their turn.
    for name in ["notification", "notification.2", "profile", "profile.2"] {
        split.signal(name, "STOP").await;
        // Longer than a lease of two seconds: the other takes over.
        tokio::time::sleep(Duration::from_secs(4)).await;
        load.more(3).await;
        split.signal(name, "CONT").await;
        load.more(2).await;
    }
    let people = load.stop().await;
    split.all_ready().await;
    load::assert_consistent(&split, people).await;
    split.stop().await;
}

/// What the next release would add, as the present one meets it: a column, and a field in events.
const NEXT: &str =
    "ALTER TABLE profile.profiles ADD COLUMN of_the_next text NOT NULL DEFAULT 'added'";

/// Writes the field as a publisher of the next release does.
fn next_publisher(module: &str) -> String {
    format!(
        "CREATE FUNCTION public.next_release() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             NEW.data := (NEW.data::jsonb || '{{\"of_the_next\": {{\"added\": true}}}}')::json;
             RETURN NEW;
         END $$;
         CREATE TRIGGER next_release BEFORE INSERT ON {module}.outbox
         FOR EACH ROW EXECUTE FUNCTION public.next_release()"
    )
}

const BACK: &str = "DROP FUNCTION public.next_release() CASCADE";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_processes_are_exchanged_one_by_one_and_nobody_notices() {
    let mut split = Split::start_doubled().await;
    let load = Load::start(&split, 3);
    load.more(2).await;
    // The column first, as migrations come before the programs that use them.
    let mut conn = split.database("profile").await;
    conn.execute(NEXT).await.expect("a column");
    for name in names() {
        exchange(&mut split, &load, name).await;
    }
    for module in ["identity", "profile"] {
        let mut conn = split.database(module).await;
        let statement = AssertSqlSafe(next_publisher(module));
        conn.execute(sqlx::raw_sql(statement))
            .await
            .expect("a field");
    }
    load.more(3).await;
    for name in seconds() {
        exchange(&mut split, &load, name).await;
    }
    // And back: events of both kinds are under way.
    for module in ["identity", "profile"] {
        let mut conn = split.database(module).await;
        conn.execute(BACK).await.expect("back");
    }
    load.more(3).await;
    let refusals = load.refusals();
    let people = load.stop().await;
    assert!(refusals.is_empty(), "{refusals:#?}");
    load::assert_consistent(&split, people).await;
    let mut conn = split.database("identity").await;
    let added: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM identity.log WHERE data::text LIKE '%of_the_next%'",
    )
    .fetch_one(&mut conn)
    .await
    .expect("a count");
    assert!(added > 0, "events of the next release were published");
    println!("10 processes exchanged, {added} events with a field more, nothing refused");
    split.stop().await;
}

async fn exchange(split: &mut Split, load: &Load, name: &'static str) {
    split.stop_one(name).await;
    split.start_again(name);
    split.ready(name).await;
    load.more(1).await;
}
