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

#[tokio::test]
async fn it_is_searched_by_text_and_exported_whole() {
    let app = TestApp::start().await;
    let admin = app.admin("=root@example.com").await;
    app.settle().await;
    let found = async |query: &str| {
        let path = format!("{AUDIT}?limit=200&{query}");
        let page = app.get(&path, &admin.access_token).await.expect(200).json();
        page["items"].as_array().unwrap().len()
    };
    let all = found("").await;
    assert!(found("text=%3DROOT%40example").await >= 1);
    assert_eq!(found("text=nobody%25").await, 0);
    assert!(found("text=session.started").await >= 1);
    assert_eq!(found("from=2000-01-01T00:00:00Z").await, all);
    assert_eq!(found("to=2000-01-01T00:00:00Z").await, 0);

    let export = async |query: &str| {
        let path = format!("{AUDIT}/export?{query}");
        app.get(&path, &admin.access_token).await
    };
    let lines = export("format=ndjson").await.expect(200);
    assert_eq!(lines.header("content-type"), "application/x-ndjson");
    let entries: Vec<serde_json::Value> = lines
        .text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let seqs: Vec<_> = entries.iter().map(|e| e["seq"].as_i64().unwrap()).collect();
    assert_eq!(seqs, (1..=i64::try_from(all).unwrap()).collect::<Vec<_>>());
    let table = export("format=csv").await.expect(200);
    assert!(table.header("content-type").starts_with("text/csv"));
    assert!(
        table
            .text
            .starts_with("seq,time,publisher,event_id,action,")
    );
    assert_eq!(table.text.matches("\r\n").count(), all + 1);
    assert!(
        table.text.contains("\"\"=root@example.com\"\""),
        "{}",
        table.text
    );
    let query = format!("format=ndjson&actor=user:{}", admin.user_id);
    let of_admin = export(&query).await.expect(200);
    assert!(of_admin.text.lines().count() < all);
    for (query, kind) in [
        ("", "validation-failed"),
        ("format=xlsx", "validation-failed"),
        ("format=csv&trace_id=7", "validation-failed"),
    ] {
        export(query).await.problem(422, kind);
    }
}

/// More than one page of an export.
#[tokio::test]
async fn an_export_goes_on_page_by_page() {
    let app = TestApp::start().await;
    let admin = app.admin("root@example.com").await;
    app.settle().await;
    sqlx::query(
        "INSERT INTO logging.audit_entries
             (seq, pos, time, event_id, version, publisher, action, target, correlation_id,
              content_digest, hash, user_agent, salt, data)
         SELECT n, n, now(), gen_random_uuid(), 1, 'made', 'made.up.v1', 't', 'c',
                decode(repeat('00', 32), 'hex'), decode(repeat('00', 32), 'hex'), '=cmd()',
                decode(repeat('00', 16), 'hex'), '{}'
           FROM generate_series(1000, 2200) n",
    )
    .execute(&app.admin_of("logging"))
    .await
    .unwrap();
    let path = format!("{AUDIT}/export?format=csv&action=made.up");
    let table = app.get(&path, &admin.access_token).await.expect(200);
    assert_eq!(table.text.matches("\r\n").count(), 1_202);
    assert_eq!(table.text.matches(",\"'=cmd()\",").count(), 1_201);
}

#[tokio::test]
async fn it_is_verified_when_somebody_asks() {
    let app = TestApp::start().await;
    let admin = app.admin("root@example.com").await;
    app.settle().await;
    let path = format!("{AUDIT}/verification");
    let known = async || app.get(&path, &admin.access_token).await.expect(200).json();
    assert_eq!(known().await, serde_json::json!({}));
    let run = async || {
        let post = reqwest::Method::POST;
        let answer = app.send(post, &path, Some(&admin.access_token), None, &[]);
        answer.await.expect(202).json()
    };
    let asked = run().await;
    assert_eq!(asked["state"], "running");
    app.settle().await;
    let known_now = known().await;
    let last = &known_now["last"];
    assert_eq!(last["id"], asked["id"]);
    assert_eq!(last["state"], "intact");
    assert_eq!(last["requested_by"], format!("user:{}", admin.user_id));
    assert!(
        last["head"]
            .as_str()
            .unwrap()
            .starts_with(&format!("{}:", last["verified"]))
    );

    sqlx::query("UPDATE logging.audit_entries SET target = 'another' WHERE seq = 3")
        .execute(&app.admin_of("logging"))
        .await
        .unwrap();
    run().await;
    app.settle().await;
    let last = known().await["last"].clone();
    assert_eq!(last["state"], "broken", "{last}");
    assert!(
        last["fault"].as_str().unwrap().contains("entry 3"),
        "{last}"
    );

    // One that a worker left behind is taken up by another, and meanwhile no second one begins.
    let asked = run().await;
    sqlx::query(
        "UPDATE logging.audit_verifications SET claimed_until = now() + interval '1 hour'
                  WHERE finished_at IS NULL",
    )
    .execute(&app.admin_of("logging"))
    .await
    .unwrap();
    app.settle().await;
    assert_eq!(known().await["running"]["id"], asked["id"]);
    assert_eq!(run().await["id"], asked["id"]);
    sqlx::query(
        "UPDATE logging.audit_verifications SET claimed_until = now() - interval '1 hour'
                  WHERE finished_at IS NULL",
    )
    .execute(&app.admin_of("logging"))
    .await
    .unwrap();
    app.settle().await;
    assert_eq!(known().await["last"]["id"], asked["id"]);
}
