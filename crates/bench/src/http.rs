//! A small HTTP/1.1 load: fixed requests over held connections, as fast as answers come or at a pace.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Requests per second that `connections` get answered with 200 over `time`.
pub async fn rate(
    address: &str,
    request: &str,
    connections: usize,
    time: Duration,
) -> anyhow::Result<f64> {
    let answered = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..connections {
        let (address, request) = (address.to_owned(), request.to_owned());
        let answered = Arc::clone(&answered);
        tasks.spawn(async move {
            let mut stream = TcpStream::connect(&address).await?;
            stream.set_nodelay(true)?;
            let mut buffer = Vec::with_capacity(8 * 1024);
            while started.elapsed() < time {
                stream.write_all(request.as_bytes()).await?;
                read_answer(&mut stream, &mut buffer).await?;
                answered.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(())
        });
    }
    while let Some(task) = tasks.join_next().await {
        task??;
    }
    Ok(answered.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64())
}

/// Milliseconds that each answer took, when all `connections` together send `per_second`.
pub async fn latencies(
    address: &str,
    request: &str,
    connections: u32,
    per_second: u32,
    time: Duration,
) -> anyhow::Result<Vec<f64>> {
    let pause = Duration::from_secs(1) * connections / per_second;
    let started = tokio::time::Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for nr in 0..connections {
        let (address, request) = (address.to_owned(), request.to_owned());
        tasks.spawn(async move {
            let mut stream = TcpStream::connect(&address).await?;
            stream.set_nodelay(true)?;
            let mut buffer = Vec::with_capacity(8 * 1024);
            let mut millis = Vec::new();
            // One after the other, and not all at once.
            let mut tick = tokio::time::interval_at(started + pause * nr / connections, pause);
            while started.elapsed() < time {
                tick.tick().await;
                let sent = Instant::now();
                stream.write_all(request.as_bytes()).await?;
                read_answer(&mut stream, &mut buffer).await?;
                millis.push(sent.elapsed().as_secs_f64() * 1_000.0);
            }
            anyhow::Ok(millis)
        });
    }
    let mut all = Vec::new();
    while let Some(millis) = tasks.join_next().await {
        all.extend(millis??);
    }
    Ok(all)
}

async fn read_answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> anyhow::Result<()> {
    buffer.clear();
    loop {
        ensure!(
            stream.read_buf(buffer).await? > 0,
            "the connection was closed"
        );
        let Some(head_end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") else {
            continue;
        };
        let head = std::str::from_utf8(&buffer[..head_end])?;
        ensure!(head.starts_with("HTTP/1.1 200"), "answered {head}");
        let length: usize = head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .context("an answer without a length")?
            .1
            .parse()?;
        while buffer.len() < head_end + 4 + length {
            ensure!(
                stream.read_buf(buffer).await? > 0,
                "the connection was closed"
            );
        }
        return Ok(());
    }
}

pub fn get(path: &str, token: Option<&str>) -> String {
    let authorization = token.map_or_else(String::new, |token| {
        format!("authorization: Bearer {token}\r\n")
    });
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{authorization}\r\n")
}

pub fn post(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}
