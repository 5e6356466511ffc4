//! What is left where the command is killed, refused or deceived; and the way on from there.

use sqlx::{ConnectOptions, Connection, PgConnection};

use super::{MODULE, STATE, Two, becomes, run, text, texts, write};
use crate::support::process::Process;

/// Waits at a lock of the test's when rows come to a table at the target, and may change them.
async fn trap(target: &mut PgConnection, body: &str) {
    let statements = format!(
        "CREATE SCHEMA trap;
         CREATE FUNCTION trap.spring() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN {body} RETURN NEW; END $$;
         CREATE FUNCTION trap.arm() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
         BEGIN
            IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands()
                        WHERE object_identity = 'notification.recipient_accounts') THEN
                CREATE TRIGGER spring BEFORE INSERT ON notification.recipient_accounts
                    FOR EACH ROW EXECUTE FUNCTION trap.spring();
            END IF;
         END $$;
         CREATE EVENT TRIGGER arm ON ddl_command_end WHEN TAG IN ('CREATE TABLE')
            EXECUTE FUNCTION trap.arm()"
    );
    run(target, &statements).await;
}

async fn no_trap(target: &mut PgConnection) {
    let statements = "DROP EVENT TRIGGER arm; DROP SCHEMA trap CASCADE";
    run(target, statements).await;
}

async fn populate(source: &mut PgConnection, people: u32) {
    let statements = format!(
        "INSERT INTO notification.recipient_accounts (user_id, email, locale, registered_at)
         SELECT gen_random_uuid(), 'person' || n || '@example.com', 'en', now()
           FROM generate_series(1, {people}) n;
         SELECT notification.roll_log('0')"
    );
    run(source, &statements).await;
}

const WAITS_IN_COPY: &str =
    "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)";
const LOCK: &str = "pg_advisory_lock(4711)";
const STALL: &str = "PERFORM pg_advisory_xact_lock(4711);";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_move_is_ended_or_given_up_and_never_do_both_databases_serve() {
    let two = Two::new().await;
    let to = two.elsewhere();
    let (mut source, mut target) = (two.at_first().await, two.at_second().await);
    populate(&mut source, 500).await;
    trap(&mut target, STALL).await;
    // A process that was there before, with its statement prepared.
    let mut before = two.runtime(two.first.database("banyan")).await;
    assert_eq!(write(&mut before).await, Ok(()));
    assert_eq!(two.may_write().await, (true, false));

    // Killed while a transaction is still open.
    let mut open = two.at_first().await;
    run(&mut open, "BEGIN; UPDATE notification.head SET pos = pos").await;
    let mut moving = two.start_move(&to);
    becomes(
        &mut source,
        "SELECT NOT has_schema_privilege('banyan_notification', 'notification', 'USAGE')
                AND state = 'moving' FROM notification.place",
    )
    .await;
    moving.kill().await.unwrap();
    assert_eq!(two.may_write().await, (false, false));
    assert_eq!(write(&mut before).await, Err("42501".to_owned()));
    // Preparing the database again does not let anybody in.
    let admin = two.first.database("banyan").to_url_lossy().to_string();
    two.ok(&["database", "prepare", "--admin-url", &admin])
        .await;
    assert_eq!(two.may_write().await, (false, false));
    let error = two.refused(&["migrate"]).await;
    assert!(error.contains("is being moved to"), "{error}");
    run(&mut open, "ROLLBACK").await;
    two.ok(&["module", "move", MODULE, "--abort"]).await;
    assert_eq!(two.may_write().await, (true, false));
    assert_eq!(write(&mut before).await, Ok(()));

    // Killed while it copies; then begun again.
    let mut lock = two.at_second().await;
    run(&mut lock, &format!("SELECT {LOCK}")).await;
    let mut moving = two.start_move(&to);
    becomes(&mut target, WAITS_IN_COPY).await;
    moving.kill().await.unwrap();
    assert_eq!(two.may_write().await, (false, false));
    run(&mut lock, "SELECT pg_advisory_unlock_all()").await;

    // Killed after the source has stood down and before the target is open.
    run(&mut lock, &format!("SELECT {LOCK}")).await;
    let mut moving = two.start_move(&to);
    becomes(&mut target, WAITS_IN_COPY).await;
    let mut row = two.at_second().await;
    run(&mut row, "BEGIN; SELECT FROM notification.place FOR UPDATE").await;
    run(&mut lock, "SELECT pg_advisory_unlock_all()").await;
    becomes(
        &mut source,
        "SELECT state = 'moved' FROM notification.place",
    )
    .await;
    moving.kill().await.unwrap();
    run(
        &mut target,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE usename = 'banyan_notification_owner'",
    )
    .await;
    run(&mut row, "ROLLBACK").await;
    assert_eq!(two.may_write().await, (false, false));
    let error = two.refused(&["module", "move", MODULE, "--abort"]).await;
    assert!(error.contains("too late"), "{error}");
    let move_again = ["module", "move", MODULE, "--to", &to, "--yes"];
    let told = two.ok(&move_again).await;
    assert!(told.contains("serves from"), "{told}");
    assert_eq!(two.may_write().await, (false, true));
    let accounts = "SELECT count(*)::text FROM notification.recipient_accounts";
    assert_eq!(text(&mut target, accounts).await, "500");
    // The log's partitions came along, as shut as they were.
    let partitions = "SELECT string_agg(lower_pos::text, ' ') FROM notification.log_partitions";
    let (here, there) = (
        text(&mut source, partitions).await,
        text(&mut target, partitions).await,
    );
    assert_eq!(here, there);
    let told = two.ok(&move_again).await;
    assert!(told.contains("already"), "{told}");

    // Whoever still has the old configuration is told what to change; the others serve.
    let error = two.refused(&["events", "parked"]).await;
    assert!(
        error.contains("modules.notification.database_url"),
        "{error}"
    );
    let mut process = Process::start(&two.data_dir.0, Process::free_port(), "all");
    process.answers("/dev/mailbox/messages", 503).await;
    process.answers("/.well-known/jwks.json", 200).await;
    process.answers("/health/ready", 200).await;
    assert_eq!(write(&mut before).await, Err("42501".to_owned()));
    let log = std::fs::read_to_string(two.data_dir.0.join("serve.log")).unwrap();
    assert!(log.contains("modules.notification.database_url"), "{log}");
    // And takes it up when it is changed.
    two.configure(&to);
    process.answers("/dev/mailbox/messages", 200).await;
    assert!(process.stop().await.success());
    let listed = two.ok(&["module", "list"]).await;
    let line = listed.lines().find(|line| line.starts_with(MODULE));
    let line = line.expect("it is listed");
    assert!(
        line.contains(" here ") && line.contains("/elsewhere"),
        "{line}"
    );

    for conn in [source, target, before, open, lock, row] {
        conn.close().await.unwrap();
    }
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_differs_is_no_move() {
    let two = Two::new().await;
    let to = two.elsewhere();
    let (mut source, mut target) = (two.at_first().await, two.at_second().await);
    populate(&mut source, 500).await;
    trap(
        &mut target,
        "IF NEW.email = 'person77@example.com' THEN NEW.locale := 'fr'; END IF;",
    )
    .await;
    let moving = two.start_move(&to).wait_with_output().await.unwrap();
    let (_, error) = texts(&moving);
    assert!(!moving.status.success(), "{error}");
    assert!(
        error.contains("recipient_accounts is not the same"),
        "{error}"
    );
    assert!(error.contains("nothing was moved"), "{error}");
    assert_eq!(text(&mut source, STATE).await, "here");
    assert_eq!(two.may_write().await, (true, false));
    no_trap(&mut target).await;
    let moving = two.start_move(&to).wait_with_output().await.unwrap();
    let (told, error) = texts(&moving);
    assert!(moving.status.success(), "{told}{error}");
    assert_eq!(two.may_write().await, (false, true));
    for conn in [source, target] {
        conn.close().await.unwrap();
    }
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_ready_is_said_before_anything_changes() {
    let two = Two::new().await;
    let to = two.elsewhere();
    let mut source = two.at_first().await;
    for (arguments, said) in [
        (vec!["nothing", "--to", &to], "there is no module"),
        (vec![MODULE, "--to", "default", "--yes"], "already"),
        // Nobody answers the question.
        (vec![MODULE, "--to", &to], "not confirmed"),
        (vec![MODULE], "--to"),
    ] {
        let arguments = [&["module", "move"], &*arguments].concat();
        let error = two.refused(&arguments).await;
        assert!(error.contains(said), "{arguments:?}: {error}");
    }
    let unprepared = super::url(&two.second.database("postgres"));
    let error = two
        .refused(&["module", "move", MODULE, "--to", &unprepared, "--yes"])
        .await;
    assert!(
        error.contains("banyan database prepare --admin-url"),
        "{error}"
    );
    // A key that leads out of the schema would lead nowhere.
    run(
        &mut source,
        "ALTER TABLE notification.counters ADD CONSTRAINT border FOREIGN KEY (user_id)
         REFERENCES profile.profiles",
    )
    .await;
    let error = two
        .refused(&["module", "move", MODULE, "--to", &to, "--yes"])
        .await;
    assert!(error.contains("border"), "{error}");
    assert_eq!(two.may_write().await, (true, false));
    source.close().await.unwrap();
    two.stop().await;
}
