//! Sign-ins over HTTP against the bare argon2id loop.

use std::time::{Duration, Instant};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use serde_json::json;

use crate::{
    http,
    process::{Banyan, EMAIL, PASSWORD},
    table::Table,
};

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(4);
/// As many as the machine has cores would do; more keep the pool's queue filled.
const CONNECTIONS: usize = 8;

pub async fn measure(banyan: &Banyan, table: &mut Table) -> anyhow::Result<()> {
    let body = json!({ "email": EMAIL, "password": PASSWORD }).to_string();
    let login = http::post("/api/v1/auth/login", &body);
    let (mut ours, mut limit) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        limit.push(tokio::task::spawn_blocking(bare_hashes).await?);
        ours.push(http::rate(&banyan.address, &login, CONNECTIONS, ROUND).await?);
    }
    table.ratio(
        "logins, of bare argon2id (19 MiB, t=2, p=1)",
        "/s",
        &ours,
        &limit,
        Some(0.9),
    );
    Ok(())
}

/// Hashes per second of a thread per core, each with memory that it keeps.
fn bare_hashes() -> f64 {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let started = Instant::now();
    let count: u32 = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(move || {
                    let params = Params::new(19 * 1_024, 2, 1, None).expect("valid");
                    let mut memory = vec![Block::default(); params.block_count()];
                    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
                    let (mut out, mut count) = ([0; 32], 0);
                    while started.elapsed() < ROUND {
                        argon2
                            .hash_password_into_with_memory(
                                PASSWORD.as_bytes(),
                                b"sixteen bytes ok",
                                &mut out,
                                &mut memory,
                            )
                            .expect("hashes");
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().expect("hashes"))
            .sum()
    });
    f64::from(count) / started.elapsed().as_secs_f64()
}
