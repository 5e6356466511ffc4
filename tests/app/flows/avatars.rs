//! Pictures of people: uploading, showing, hiding, and what is left when something dies.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Person, TestApp};

const ME: &str = "/api/v1/profiles/me";
const MINE: &str = "/api/v1/profiles/me/avatar";

fn picture(shade: u8) -> Vec<u8> {
    let image = RgbImage::from_pixel(600, 300, Rgb([shade, 0, 0]));
    let mut out = Cursor::new(Vec::new());
    DynamicImage::from(image)
        .write_to(&mut out, ImageFormat::Png)
        .expect("encoded");
    out.into_inner()
}

async fn put(app: &TestApp, who: &Person, content: Vec<u8>, headers: &[(&str, &str)]) -> Answer {
    let mut request = app
        .http
        .put(format!("{}{MINE}", app.url))
        .bearer_auth(&who.access_token)
        .body(content);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.expect("an answer");
    Answer {
        status: response.status(),
        headers: response.headers().clone(),
        text: response.text().await.expect("whole"),
    }
}

/// As a browser does for an `<img>`: without a token.
async fn fetch(app: &TestApp, url: &str) -> (u16, reqwest::header::HeaderMap, Vec<u8>) {
    // The address that people reach is another than the test's.
    let path = &url[url.find("/api/").expect("a path")..];
    let response = app.http.get(format!("{}{path}", app.url)).send();
    let response = response.await.expect("an answer");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    (
        status,
        headers,
        response.bytes().await.expect("whole").into(),
    )
}

fn url(profile: &Value) -> String {
    profile["avatar_url"]
        .as_str()
        .expect("a picture")
        .to_owned()
}

/// How many blobs there are in the module's database.
async fn blobs(app: &TestApp) -> i64 {
    app.count("profile.blobs").await
}

#[tokio::test]
async fn a_picture_is_shown_to_whoever_knows_its_address() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    let eve = app.sign_up("eve@example.com").await;
    let before = app.get(ME, &ada.access_token).await.expect(200);
    assert_eq!(before.json()["avatar_url"], Value::Null);
    // What it is told by its bytes, and not by what it is called.
    let headers = [("content-type", "text/html")];
    let put_one = put(&app, &ada, picture(200), &headers).await.expect(200);
    assert_ne!(put_one.header("etag"), before.header("etag"));
    let first = url(&put_one.json());
    assert!(first.starts_with("http"), "{first}");

    for (path, side) in [
        (first.clone(), 512),
        (format!("{first}&size=512"), 512),
        (format!("{first}&size=96"), 96),
    ] {
        let (status, headers, bytes) = fetch(&app, &path).await;
        assert_eq!(status, 200);
        for (name, value) in [
            ("content-type", "image/jpeg"),
            ("x-content-type-options", "nosniff"),
            ("content-security-policy", "default-src 'none'; sandbox"),
            ("content-disposition", "inline"),
            ("cache-control", "private, max-age=31536000, immutable"),
        ] {
            assert_eq!(headers[name], value, "{path}");
        }
        let image = image::load_from_memory(&bytes).expect("a picture");
        assert_eq!((image.width(), image.height()), (side, side / 2));
        let known = [("if-none-match", headers["etag"].to_str().unwrap())];
        let path = &path[path.find("/api/").unwrap()..];
        let again = app.send(Method::GET, path, None, None, &known).await;
        assert_eq!(again.expect(304).text, "");
    }

    // Others are told where it is, and so are other modules.
    let theirs = format!("/api/v1/profiles/{}", ada.user_id);
    let seen = app.get(&theirs, &eve.access_token).await.expect(200);
    assert_eq!(url(&seen.json()), first);
    app.settle().await;
    let told: String = sqlx::query_scalar(
        "SELECT data::text FROM profile.log WHERE type = 'profile.profile.updated.v1'",
    )
    .fetch_one(&app.admin_of("profile"))
    .await
    .unwrap();
    assert!(told.contains(&first), "{told}");

    // Another picture has another address, and the first is gone.
    let second = url(&put(&app, &ada, picture(90), &[]).await.expect(200).json());
    assert_ne!(first, second);
    assert_eq!(fetch(&app, &first).await.0, 404);
    assert_eq!(fetch(&app, &second).await.0, 200);
    assert_eq!(blobs(&app).await, 4);
    app.run_job("remove_unused_avatars").await;
    assert_eq!(blobs(&app).await, 2);
    assert_eq!(fetch(&app, &second).await.0, 200);

    let gone = app
        .send(Method::DELETE, MINE, Some(&ada.access_token), None, &[])
        .await;
    assert_eq!(gone.expect(200).json()["avatar_url"], Value::Null);
    assert_eq!(fetch(&app, &second).await.0, 404);
    app.run_job("remove_unused_avatars").await;
    assert_eq!(
        (blobs(&app).await, app.count("profile.avatars").await),
        (0, 0)
    );
    app.settle().await;
}

#[tokio::test]
async fn who_hides_a_picture_has_hidden_it() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    let eve = app.sign_up("eve@example.com").await;
    let shown = put(&app, &ada, picture(200), &[]).await.expect(200);
    let known = url(&shown.json());
    let hide = json!({ "visibility": { "avatar": "private" } });
    let headers = [("if-match", shown.header("etag"))];
    let hidden = app
        .send(
            Method::PATCH,
            ME,
            Some(&ada.access_token),
            Some(hide),
            &headers,
        )
        .await
        .expect(200);
    // Those who knew where it was do not any more; its owner does.
    assert_eq!(fetch(&app, &known).await.0, 404);
    assert_eq!(fetch(&app, &url(&hidden.json())).await.0, 200);
    let theirs = format!("/api/v1/profiles/{}", ada.user_id);
    let seen = app.get(&theirs, &eve.access_token).await.expect(200).json();
    assert!(seen.get("avatar_url").is_none(), "{seen}");
    app.settle().await;
    let told: Vec<String> = sqlx::query_scalar("SELECT data::text FROM profile.log")
        .fetch_all(&app.admin_of("profile"))
        .await
        .unwrap();
    let secret = url(&hidden.json()).split_once("v=").unwrap().1.to_owned();
    assert!(!told.iter().any(|data| data.contains(&secret)));

    // Nor is it to be had with another's address, or by guessing.
    let eves = url(&put(&app, &eve, picture(10), &[]).await.expect(200).json());
    let mixed = eves.replace(&eve.user_id, &ada.user_id);
    assert_eq!(fetch(&app, &mixed).await.0, 404);
    let (base, _) = known.split_once("?v=").unwrap();
    for (query, status) in [
        ("", 422),
        ("?v=", 422),
        ("?v=00000000-0000-0000-0000-000000000000", 404),
        ("?v=00000000-0000-0000-0000-000000000000&size=100000", 422),
        ("?size=96", 422),
    ] {
        assert_eq!(
            fetch(&app, &format!("{base}{query}")).await.0,
            status,
            "{query}"
        );
    }
    app.settle().await;
}

#[tokio::test]
async fn what_is_no_fit_picture_is_refused() {
    let app = TestApp::with(&[
        ("BANYAN__PROFILE__AVATAR_MAX_BYTES", "100000"),
        ("BANYAN__PROFILE__AVATAR_MAX_PIXELS", "200000"),
    ])
    .await;
    let ada = app.sign_up("ada@example.com").await;
    let svg = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>";
    let mut cut = picture(200);
    cut.truncate(cut.len() / 2);
    let mut bomb = picture(200);
    bomb[16..24].copy_from_slice(&[0, 0, 0xEA, 0x60, 0, 0, 0xEA, 0x60]);
    let crc = crc32(&bomb[12..29]).to_be_bytes();
    bomb[29..33].copy_from_slice(&crc);
    for (content, content_type, status, kind) in [
        (svg.to_vec(), "image/png", 415, "unsupported-media-type"),
        (svg.to_vec(), "image/svg+xml", 415, "unsupported-media-type"),
        (Vec::new(), "image/png", 415, "unsupported-media-type"),
        (cut, "image/png", 422, "unreadable-picture"),
        (bomb, "image/png", 422, "too-many-pixels"),
        (vec![0; 100_001], "image/png", 413, "payload-too-large"),
        (vec![0; 5_300_000], "image/png", 413, "payload-too-large"),
    ] {
        let headers = [("content-type", content_type)];
        let refused = put(&app, &ada, content, &headers).await;
        refused.problem(status, kind);
    }
    let headers = [("if-match", "\"of.another\"")];
    let stale = put(&app, &ada, picture(200), &headers).await;
    stale.problem(412, "precondition-failed");
    let read = app.get(ME, &ada.access_token).await.expect(200);
    assert_eq!(read.json()["avatar_url"], Value::Null);
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// A process that dies between storing a picture and naming it leaves what nobody names, and so does a
/// database connection that dies there. (The profile is locked, so that the upload stops at that place.)
#[tokio::test]
async fn what_an_upload_leaves_that_ended_halfway_is_removed() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    let kept = url(&put(&app, &ada, picture(200), &[]).await.expect(200).json());
    let pool = app.admin_of("profile");
    let mut lock = pool.begin().await.unwrap();
    sqlx::query("SELECT FROM profile.profiles FOR UPDATE")
        .execute(&mut *lock)
        .await
        .unwrap();
    let upload = put(&app, &ada, picture(90), &[]);
    tokio::pin!(upload);
    let answer = loop {
        tokio::select! {
            answer = &mut upload => break answer,
            () = tokio::time::sleep(std::time::Duration::from_millis(20)) => {}
        }
        // Again and again: a gateway may try a second time.
        sqlx::query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
              WHERE wait_event_type = 'Lock' AND datname = current_database()
                AND query LIKE '%profile.profiles%FOR NO KEY UPDATE%'",
        )
        .execute(&pool)
        .await
        .unwrap();
    };
    answer.problem(503, "unavailable");
    lock.rollback().await.unwrap();
    let pictures = app.count("profile.avatars").await;
    assert!(pictures > 1, "the upload never came so far");
    assert_eq!(blobs(&app).await, 2 * pictures);
    // They may be about to be named yet, as far as the job knows.
    app.run_job("remove_unused_avatars").await;
    assert_eq!(blobs(&app).await, 2 * pictures);
    app.clock.advance(time::Duration::minutes(61));
    app.run_job("remove_unused_avatars").await;
    assert_eq!(
        (blobs(&app).await, app.count("profile.avatars").await),
        (2, 1)
    );
    assert_eq!(fetch(&app, &kept).await.0, 200);
    app.settle().await;
}

/// Every store behind the same interface.
#[tokio::test]
async fn pictures_may_be_kept_in_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let app = TestApp::with(&[
        ("BANYAN__PROFILE__BLOBS", "disk"),
        ("BANYAN__PROFILE__DISK_PATH", path),
    ])
    .await;
    let ada = app.sign_up("ada@example.com").await;
    let address = url(&put(&app, &ada, picture(200), &[]).await.expect(200).json());
    assert_eq!(fetch(&app, &address).await.0, 200);
    assert_eq!(blobs(&app).await, 0);
    app.send(Method::DELETE, MINE, Some(&ada.access_token), None, &[])
        .await
        .expect(200);
    app.run_job("remove_unused_avatars").await;
    let left = std::fs::read_dir(path)
        .unwrap()
        .flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap());
    assert_eq!(left.count(), 0);
    app.settle().await;
}

#[tokio::test]
async fn a_store_that_is_away_takes_only_pictures_with_it() {
    let app = TestApp::with(&[
        ("BANYAN__PROFILE__BLOBS", "s3"),
        // Nobody listens there.
        ("BANYAN__PROFILE__S3_ENDPOINT", "http://127.0.0.1:9"),
        ("BANYAN__PROFILE__S3_BUCKET", "pictures"),
        ("BANYAN__PROFILE__S3_ACCESS_KEY_ID", "ada"),
        ("BANYAN__PROFILE__S3_SECRET_ACCESS_KEY", "hunter2"),
    ])
    .await;
    let ada = app.sign_up("ada@example.com").await;
    let refused = put(&app, &ada, picture(200), &[]).await;
    assert!(refused.headers.contains_key("retry-after"));
    let problem = refused.problem(503, "unavailable");
    assert!(!problem.to_string().contains("127.0.0.1"), "{problem}");
    let read = app.get(ME, &ada.access_token).await.expect(200);
    assert_eq!(read.json()["avatar_url"], Value::Null);
    // What may lie there is remembered until it is removed.
    assert_eq!(app.count("profile.avatars").await, 1);
}
