//! A process that is killed while pictures come in: what is stored is known, and what is named is stored.

use std::{collections::BTreeSet, io::Cursor, sync::Arc, time::Duration};

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use rand::RngExt;
use serde_json::json;
use sqlx::PgConnection;
use tokio::sync::Notify;

use crate::{
    processes::{database, insist, number, post},
    support::{
        PASSWORD,
        process::{DataDir, Process},
    },
};

const EMAIL: &str = "ada@example.com";
const KILLS: usize = 4;

fn picture() -> Vec<u8> {
    let image = RgbImage::from_pixel(1_200, 900, Rgb([200, 10, 10]));
    let mut out = Cursor::new(Vec::new());
    DynamicImage::from(image)
        .write_to(&mut out, ImageFormat::Png)
        .expect("encoded");
    out.into_inner()
}

/// The pictures of which there are files, whole or begun.
fn on_disk(data_dir: &DataDir) -> BTreeSet<String> {
    let folders = std::fs::read_dir(data_dir.0.join("blobs")).expect("the store");
    let files = folders.flat_map(|folder| {
        let path = folder.expect("an entry").path();
        std::fs::read_dir(path).expect("a folder")
    });
    let names = files.map(|file| file.expect("an entry").file_name().into_string().unwrap());
    names
        .map(|name| name.split_once('-').expect("id and size").0.to_owned())
        .collect()
}

async fn known(conn: &mut PgConnection) -> BTreeSet<String> {
    let ids: Vec<String> =
        sqlx::query_scalar("SELECT replace(avatar_id::text, '-', '') FROM profile.avatars")
            .fetch_all(conn)
            .await
            .expect("a list");
    ids.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_among_uploads_leave_nothing_unknown() {
    let data_dir = DataDir::new();
    let config = "[profile]\nblobs = \"disk\"\n";
    std::fs::write(data_dir.0.join("banyan.toml"), config).unwrap();
    let port = Process::free_port();
    let mut process = Process::serve_on(&data_dir.0, port).await;
    let url = process.url.clone();
    insist(&url, EMAIL).await;
    let credentials = json!({ "email": EMAIL, "password": PASSWORD });
    let (status, tokens) = post(&url, "/api/v1/auth/login", &credentials)
        .await
        .expect("an answer");
    assert_eq!(status, 200, "{tokens}");
    let token = tokens["access_token"].as_str().unwrap().to_owned();

    let stored = Arc::new(Notify::new());
    let uploads = (0..3).map(|_| {
        let (url, token, stored) = (url.clone(), token.clone(), Arc::clone(&stored));
        tokio::spawn(async move {
            let (http, picture) = (reqwest::Client::new(), picture());
            loop {
                let upload = http
                    .put(format!("{url}/api/v1/profiles/me/avatar"))
                    .bearer_auth(&token)
                    .body(picture.clone());
                match upload.send().await.map(|answer| answer.status().as_u16()) {
                    Ok(200) => stored.notify_one(),
                    // Not there, or not all of it yet.
                    Ok(503) | Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                    Ok(other) => panic!("{other}"),
                }
            }
        })
    });
    let uploads: Vec<_> = uploads.collect();
    for _ in 0..KILLS {
        stored.notified().await;
        let pause = rand::rng().random_range(0..60);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        process.kill().await;
        process = Process::serve_on(&data_dir.0, port).await;
    }
    stored.notified().await;
    for upload in uploads {
        assert!(
            !upload.is_finished(),
            "an upload was answered as it should not be"
        );
        upload.abort();
        let _ = upload.await;
    }

    let mut conn = database(&data_dir).await;
    // Files first: one that is stored now was announced before.
    let files = on_disk(&data_dir);
    let rows = known(&mut conn).await;
    let unknown: Vec<_> = files.difference(&rows).collect();
    assert!(unknown.is_empty(), "nobody would remove {unknown:?}");
    let named = "SELECT count(*) FROM profile.profiles p JOIN profile.avatars a USING (avatar_id) \
                 WHERE a.state = 'kept'";
    assert_eq!(number(&mut conn, named).await, 1);
    let kept = "SELECT count(*) FROM profile.avatars WHERE state = 'kept'";
    assert_eq!(number(&mut conn, kept).await, 1);
    let begun = "SELECT count(*) FROM profile.avatars WHERE state = 'pending'";
    println!(
        "{} pictures, {} ended halfway",
        rows.len(),
        number(&mut conn, begun).await
    );

    let me = reqwest::Client::new().get(format!("{url}/api/v1/profiles/me"));
    let me: serde_json::Value = me
        .bearer_auth(&token)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let address = me["avatar_url"].as_str().expect("a picture");
    let path = &address[address.find("/api/").expect("a path")..];
    for size in [96, 512] {
        let answer = reqwest::get(format!("{url}{path}&size={size}"))
            .await
            .unwrap();
        assert_eq!(answer.status(), 200, "{size}");
        let image = image::load_from_memory(&answer.bytes().await.unwrap()).expect("whole");
        assert_eq!(image.width(), size);
    }
    process.stop().await;
}
