//! Leases: who may act. Times are the database's; every take-over raises the epoch, and every
//! transaction of a holder checks its own, so that a paused process that wakes up changes nothing.

use std::{collections::HashMap, time::Duration};

use sqlx::{PgConnection, PgPool, Row};
use tokio::sync::watch;
use uuid::Uuid;

use crate::{
    failpoint::{self, Point},
    schema::{Schema, safe, statements},
    trouble::Trouble,
};

statements! {
    /// What leases need.
    LeaseStatements {
        declare: "
            INSERT INTO {schema}.leases (name) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING",
        renew: "
            UPDATE {schema}.leases
               SET expires_at = clock_timestamp() + make_interval(secs => $2)
             WHERE holder = $1
            RETURNING name, epoch",
        // SKIP LOCKED: a transaction of the old holder is still open; the server ends it when it
        // rests for too long. An end far in the future was written before the clock went back.
        acquire: "
            UPDATE {schema}.leases
               SET holder = $1, epoch = epoch + 1,
                   expires_at = clock_timestamp() + make_interval(secs => $2)
             WHERE name IN (
                SELECT name FROM {schema}.leases
                 WHERE name = ANY($3)
                   AND holder IS DISTINCT FROM $1
                   AND (holder IS NULL OR expires_at < clock_timestamp()
                        OR expires_at > clock_timestamp() + make_interval(secs => $2 + 60))
                   FOR UPDATE SKIP LOCKED)
            RETURNING name, epoch",
        // Where nobody else can be at work.
        release_all: "
            UPDATE {schema}.leases SET holder = NULL, expires_at = '-infinity'
             WHERE holder IS NOT NULL",
        release: "
            UPDATE {schema}.leases SET holder = NULL, expires_at = '-infinity' WHERE holder = $1",
    }
}

/// The leases of one module that this instance wants, and which of them it holds.
#[derive(Debug)]
pub struct Leases {
    pool: PgPool,
    statements: LeaseStatements,
    holder: Uuid,
    ttl: Duration,
    wanted: Vec<String>,
    held: HashMap<String, watch::Sender<Option<i64>>>,
    /// One look at a time: two would not agree on what is lost.
    turn: tokio::sync::Mutex<()>,
}

impl Leases {
    pub fn new(
        pool: PgPool,
        schema: &Schema,
        holder: Uuid,
        ttl: Duration,
        wanted: Vec<String>,
    ) -> Self {
        let held = wanted
            .iter()
            .map(|name| (name.clone(), watch::Sender::new(None)))
            .collect();
        Self {
            pool,
            statements: LeaseStatements::new(schema),
            holder,
            ttl,
            wanted,
            held,
            turn: tokio::sync::Mutex::default(),
        }
    }

    pub async fn declare(&self) -> Result<(), sqlx::Error> {
        sqlx::query(safe(&self.statements.declare))
            .bind(&self.wanted)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// The epoch of a lease that is held here, as it changes.
    ///
    /// # Panics
    /// When the lease is not one that this instance wants.
    pub fn watch(&self, name: &str) -> watch::Receiver<Option<i64>> {
        self.held[name].subscribe()
    }

    pub fn epoch(&self, name: &str) -> Option<i64> {
        *self.held[name].borrow()
    }

    /// Renews what is held and takes what is free.
    pub async fn keep(&self) -> Result<(), sqlx::Error> {
        let _turn = self.turn.lock().await;
        let mut now: HashMap<String, i64> = HashMap::new();
        let ttl = self.ttl.as_secs_f64();
        let renewed = sqlx::query(safe(&self.statements.renew))
            .bind(self.holder)
            .bind(ttl)
            .fetch_all(&self.pool)
            .await?;
        let taken = if renewed.len() < self.wanted.len() {
            sqlx::query(safe(&self.statements.acquire))
                .bind(self.holder)
                .bind(ttl)
                .bind(&self.wanted)
                .fetch_all(&self.pool)
                .await?
        } else {
            Vec::new()
        };
        failpoint::reach(self.holder, Point::LeasesKept).await;
        for row in renewed.iter().chain(&taken) {
            now.insert(row.try_get("name")?, row.try_get("epoch")?);
        }
        for (name, held) in &self.held {
            let epoch = now.get(name).copied();
            held.send_if_modified(|before| std::mem::replace(before, epoch) != epoch);
        }
        Ok(())
    }

    /// Keeps the leases for as long as it is polled.
    pub async fn run(&self) {
        let mut trouble = Trouble::of("leases cannot be renewed".to_owned());
        let mut tick = tokio::time::interval(self.ttl / 3);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            trouble.tell(self.keep().await.err().as_ref());
        }
    }

    /// Lets go of everything, so that another instance need not wait.
    pub async fn release(&self) -> Result<(), sqlx::Error> {
        let _turn = self.turn.lock().await;
        for held in self.held.values() {
            held.send_replace(None);
        }
        sqlx::query(safe(&self.statements.release))
            .bind(self.holder)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    pub(crate) fn holder(&self) -> Uuid {
        self.holder
    }
}

/// Frees every lease of a module, for somebody who knows that all processes that held one are gone.
pub async fn release_all(conn: &mut PgConnection, schema: &Schema) -> Result<(), sqlx::Error> {
    let known: bool = sqlx::query_scalar("SELECT to_regclass($1 || '.leases') IS NOT NULL")
        .bind(schema.to_string())
        .fetch_one(&mut *conn)
        .await?;
    if known {
        let statements = LeaseStatements::new(schema);
        sqlx::query(safe(&statements.release_all))
            .execute(conn)
            .await?;
    }
    Ok(())
}
