//! `make split` with a service in another language beside it: real processes, each with the user of the
//! broker that config/split/nats.conf gives it.

mod installation;
mod rights;

use installation::{Installation, until};
use tokio::process::Command;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_in_another_language_counts_sign_ups() {
    let mut it = Installation::start().await;
    let ada = it.sign_up("ada@example.com").await;
    let root = it.admin().await;
    it.counts(&root, 2).await;

    // Administrators, and nobody else.
    for path in ["/analytics/", "/analytics/v1/sign-ups"] {
        assert_eq!(it.get(path, None).await.0, 401);
        assert_eq!(it.get(path, Some(&ada)).await.0, 403);
    }
    let (status, page) = it.get("/analytics/", Some(&root)).await;
    assert_eq!(status, 200);
    assert!(
        page.contains("<svg") && page.contains("Asked by user:"),
        "{page}"
    );
    assert_eq!(it.get("/analytics/sign-in", None).await.0, 200);
    let (status, _) = it
        .get("/analytics/v1/sign-ups?days=1000", Some(&root))
        .await;
    assert_eq!(status, 400);

    // Killed, and started again on what it has.
    it.analytics.take().unwrap().kill().await.unwrap();
    it.sign_up("bob@example.com").await;
    it.start_analytics().await;
    it.counts(&root, 3).await;

    // Its records are found where everybody's are.
    until("its log records", async || {
        let (status, text) = it.get("/api/v1/logs?service=analytics", Some(&root)).await;
        assert_eq!(status, 200, "{text}");
        ["counted an event", "answered a request"]
            .iter()
            .all(|message| text.contains(message))
    })
    .await;

    // And those of the processes that do not host logging.
    let logs = "/api/v1/logs?service=banyan&text=registrations";
    until("the log records of others", async || {
        let logs = it.get(logs, Some(&root)).await.1;
        logs.contains("/api/v1/auth/registrations")
    })
    .await;

    assert_eq!(it.violations(), [""; 0], "nobody was refused what it needs");
    rights::nobody_may_more_than_it_needs(&it).await;

    // SIGTERM.
    let mut analytics = it.analytics.take().unwrap();
    let pid = analytics.id().unwrap().to_string();
    assert!(
        Command::new("kill")
            .arg(pid)
            .status()
            .await
            .unwrap()
            .success()
    );
    assert!(analytics.wait().await.unwrap().success());
    rights::answers_stay_in_their_account(&it).await;
}

#[tokio::test]
async fn its_own_tests_hold() {
    let output = installation::python()
        .args(["-m", "unittest"])
        .current_dir(crate::support::split::root().join("examples/analytics"))
        .output()
        .await
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && told.contains("Ran 2 tests"),
        "{told}"
    );
}
