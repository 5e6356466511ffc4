//! The audit trail: complete, readable by administrators, and proof against tampering.

use crate::support::TestApp;

const AUDIT: &str = "/api/v1/audit";

#[tokio::test]
async fn every_business_event_is_an_entry() {
    let app = TestApp::start().await;
    let admin = app.admin("root@example.com").await;
    app.settle().await;
    let mut published: i64 = 0;
    for module in banyan::modules::MODULES {
        let query = format!("SELECT count(*) FROM {}.log", module.name());
        published += sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(query))
            .fetch_one(&app.admin_of(module.name()))
            .await
            .unwrap();
    }
    assert!(published >= 6, "{published}");
    assert_eq!(app.count("logging.audit_entries").await, published);

    let path = format!("{AUDIT}?actor=user:{}", admin.user_id);
    let page = app.get(&path, &admin.access_token).await.expect(200).json();
    assert!(page["items"].is_array(), "{page}");
    let all = app
        .get(&format!("{AUDIT}?limit=2"), &admin.access_token)
        .await
        .expect(200)
        .json();
    assert_eq!(all["items"].as_array().unwrap().len(), 2);
    let cursor = all["next_cursor"].as_str().unwrap();
    let next = app
        .get(
            &format!("{AUDIT}?limit=2&cursor={cursor}"),
            &admin.access_token,
        )
        .await;
    let next = next.expect(200).json();
    let seq = |page: &serde_json::Value, n: usize| page["items"][n]["seq"].as_i64().unwrap();
    assert_eq!(seq(&next, 0), seq(&all, 1) - 1);
}

#[tokio::test]
async fn only_administrators_read_it() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    app.get(AUDIT, &ada.access_token)
        .await
        .problem(403, "forbidden");
    app.get("/api/v1/logs", &ada.access_token)
        .await
        .problem(403, "forbidden");
}
