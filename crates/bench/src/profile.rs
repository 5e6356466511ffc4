//! `GET /api/v1/profiles/me` against a bare axum handler that runs the same SELECT.

use std::{process::Stdio, time::Duration};

use anyhow::Context;
use axum::{Json, Router, extract::State, routing::get};
use serde_json::{Value, json};
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};
use uuid::Uuid;

use crate::{
    Place, http,
    process::{Banyan, DATABASE},
    table::Table,
};

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(3);
const CONNECTIONS: usize = 32;

pub async fn measure(place: &Place, banyan: &Banyan, table: &mut Table) -> anyhow::Result<()> {
    let database = place.server.database(DATABASE);
    let socket = database.get_socket().context("a socket")?;
    // A process of its own, as the program is: both leave the load the same share of the machine.
    let mut bare = Command::new(std::env::current_exe()?)
        .arg("bare-profile")
        .arg(socket)
        .arg(place.folder.join("postgres/password"))
        .arg(&banyan.user_id)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let stdout = bare.stdout.take().context("piped")?;
    let bare_address = BufReader::new(stdout)
        .lines()
        .next_line()
        .await?
        .context("the bare server starts")?;
    let ours = http::get("/api/v1/profiles/me", Some(&banyan.access_token));
    let limit = http::get("/", None);
    let (mut ours_rates, mut limit_rates) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        limit_rates.push(http::rate(&bare_address, &limit, CONNECTIONS, ROUND).await?);
        ours_rates.push(http::rate(&banyan.address, &ours, CONNECTIONS, ROUND).await?);
    }
    bare.kill().await?;
    let what = "GET /profiles/me, of a bare axum + sqlx handler";
    table.ratio(what, "/s", &ours_rates, &limit_rates, Some(0.8));
    Ok(())
}

#[derive(Clone)]
struct Bare {
    pool: PgPool,
    user: Uuid,
}

/// `bench bare-profile SOCKET PASSWORD_FILE USER`: prints its address, serves until it is killed.
pub async fn bare_server(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<()> {
    let mut next = || {
        arguments
            .next()
            .context("bare-profile SOCKET PASSWORD_FILE USER")
    };
    let (socket, password_file, user) = (next()?, next()?, next()?);
    let options = sqlx::postgres::PgConnectOptions::new_without_pgpass()
        .socket(socket)
        .username("postgres")
        .password(std::fs::read_to_string(password_file)?.trim())
        .database(DATABASE);
    let pool = PgPoolOptions::new()
        .max_connections(10)
        .test_before_acquire(false)
        .connect_with(options)
        .await?;
    let state = Bare {
        pool,
        user: user.parse()?,
    };
    let router = Router::new()
        .route("/", get(bare_profile))
        .with_state(state);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    axum::serve(listener, router).await?;
    Ok(())
}

type Row = (Uuid, Option<String>, Option<String>, String, String, i64);

async fn bare_profile(State(bare): State<Bare>) -> Json<Value> {
    let row: Row = sqlx::query_as(
        "SELECT user_id, display_name, bio, locale, time_zone, version
           FROM profile.profiles WHERE user_id = $1",
    )
    .bind(bare.user)
    .fetch_one(&bare.pool)
    .await
    .expect("the profile is there");
    Json(json!({
        "user_id": row.0, "display_name": row.1, "bio": row.2, "locale": row.3, "time_zone": row.4,
    }))
}
