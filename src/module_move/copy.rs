//! The content: rows by `COPY` in its binary format, as a stream from server to server.

use std::{
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use bus::place::State;
use futures::TryStreamExt;

use super::{
    end::End,
    report::{bytes, number},
    tables::{self, Partition, Sequence, Table},
};

/// What is held in memory of a table, about.
const CHUNK_BYTES: usize = 256 * 1024;
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// What was copied of a table.
#[derive(Debug)]
pub(super) struct Copied {
    pub table: String,
    pub rows: u64,
    pub bytes: u64,
    pub took: Duration,
}

/// Makes the target this move's: its runtime role is shut out, it says so, and it is emptied.
pub(super) async fn claim(target: &mut End, source: &mut End) -> anyhow::Result<()> {
    let peer = source.place().await?.context("the source has a place")?;
    target.run("BEGIN".to_owned()).await?;
    target.fence().await?;
    bus::place::ensure(&mut target.conn, &target.schema).await?;
    let update = format!(
        "UPDATE {}.place SET state = $1, peer = $2, peer_name = $3, since = clock_timestamp()",
        target.schema
    );
    sqlx::query(sqlx::AssertSqlSafe(update))
        .bind(State::Arriving.name())
        .bind(peer.id)
        .bind(&source.name)
        .execute(&mut target.conn)
        .await?;
    target.run(drop_all(target.module)).await?;
    target.run("COMMIT".to_owned()).await?;
    Ok(())
}

/// Everything in the schema but its place. What an older release or another move has left is of no
/// use, and migrations make the rest anew.
fn drop_all(module: &str) -> String {
    format!(
        "DO $do$ DECLARE statement text; BEGIN
            FOR statement IN
                SELECT format('DROP %s IF EXISTS %I.%I CASCADE', kind, n.nspname, c.relname)
                  FROM pg_class c
                  JOIN pg_namespace n ON n.oid = c.relnamespace
                  JOIN (VALUES ('v', 'VIEW'), ('m', 'MATERIALIZED VIEW'), ('r', 'TABLE'),
                               ('p', 'TABLE'), ('S', 'SEQUENCE')) AS kinds (relkind, kind)
                    ON kinds.relkind = c.relkind::text
                 WHERE n.nspname = '{module}' AND c.relname <> 'place' AND NOT c.relispartition
                   -- A column's own sequence goes with its table.
                   AND NOT (c.relkind = 'S' AND EXISTS (
                        SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                           AND d.objid = c.oid AND d.deptype IN ('a', 'i')))
            LOOP
                EXECUTE statement;
            END LOOP;
            FOR statement IN
                SELECT format('DROP ROUTINE IF EXISTS %I.%I(%s) CASCADE', n.nspname, p.proname,
                              pg_get_function_identity_arguments(p.oid))
                  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
                 WHERE n.nspname = '{module}'
            LOOP
                EXECUTE statement;
            END LOOP;
            FOR statement IN
                SELECT format('DROP TYPE IF EXISTS %I.%I CASCADE', n.nspname, t.typname)
                  FROM pg_type t
                  JOIN pg_namespace n ON n.oid = t.typnamespace
                  LEFT JOIN pg_class c ON c.oid = t.typrelid
                 WHERE n.nspname = '{module}' AND (t.typtype IN ('e', 'd') OR c.relkind = 'c')
            LOOP
                EXECUTE statement;
            END LOOP;
        END $do$"
    )
}

/// Fills the target's tables, in the transaction that is open there.
pub(super) async fn copy_all(
    source: &mut End,
    target: &mut End,
    tables: &[Table],
) -> anyhow::Result<Vec<Copied>> {
    let partitions = tables::partitions(source).await?;
    make_partitions(target, &partitions).await?;
    let names: Vec<_> = tables.iter().map(|table| &*table.name).collect();
    // Migrations have filled some.
    target.run(format!("TRUNCATE {}", names.join(", "))).await?;
    let mut copied = Vec::new();
    for table in tables {
        let one = copy(source, target, table).await;
        copied.push(one.with_context(|| format!("{} could not be copied", table.name))?);
    }
    set_sequences(target, &tables::sequences(source).await?).await?;
    Ok(copied)
}

/// The same partitions as at the source, which made most of them as it went along.
async fn make_partitions(target: &mut End, wanted: &[Partition]) -> anyhow::Result<()> {
    let mut statements = String::new();
    for partition in tables::partitions(target).await? {
        statements += &format!("DROP TABLE {};\n", partition.name);
    }
    let runtime = &target.runtime;
    for Partition {
        name,
        parent,
        bounds,
        privileges,
    } in wanted
    {
        statements += &format!(
            "CREATE TABLE {name} PARTITION OF {parent} {bounds};\n\
             REVOKE ALL ON {name} FROM {runtime};\n"
        );
        if let Some(privileges) = privileges {
            statements += &format!("GRANT {privileges} ON {name} TO {runtime};\n");
        }
    }
    Ok(target.run(statements).await?)
}

async fn copy(source: &mut End, target: &mut End, table: &Table) -> anyhow::Result<Copied> {
    let started = Instant::now();
    let what = format!("COPY {} ({})", table.name, table.columns);
    let statement = format!("{what} FROM STDIN (FORMAT binary)");
    let mut into = target.conn.copy_in_raw(&statement).await?;
    let statement = format!("{what} TO STDOUT (FORMAT binary)");
    let mut from = source.conn.copy_out_raw(&statement).await?;
    let mut chunk = Vec::with_capacity(2 * CHUNK_BYTES);
    let mut progress = Progress::new(table, started);
    let mut size = 0;
    // The server sends each row by itself, and the end.
    while let Some(row) = from.try_next().await? {
        chunk.extend_from_slice(&row);
        size += row.len() as u64;
        if chunk.len() >= CHUNK_BYTES {
            into.send(&*chunk).await?;
            chunk.clear();
        }
        progress.row(size);
    }
    drop(from);
    into.send(&*chunk).await?;
    let rows = into.finish().await?;
    progress.end();
    Ok(Copied {
        table: table.name.clone(),
        rows,
        bytes: size,
        took: started.elapsed(),
    })
}

async fn set_sequences(target: &mut End, sequences: &[Sequence]) -> anyhow::Result<()> {
    for sequence in sequences {
        sqlx::query("SELECT setval($1::regclass, $2, $3)")
            .bind(&sequence.name)
            .bind(sequence.last_value)
            .bind(sequence.is_called)
            .execute(&mut target.conn)
            .await?;
    }
    let now = tables::sequences(target).await?;
    ensure!(now == sequences, "the target has other sequences");
    Ok(())
}

/// How far a table is, now and then.
struct Progress<'a> {
    table: &'a Table,
    started: Instant,
    told: Instant,
    rows: u64,
    line: bool,
}

impl<'a> Progress<'a> {
    fn new(table: &'a Table, started: Instant) -> Self {
        Self {
            table,
            started,
            told: started,
            rows: 0,
            line: false,
        }
    }

    fn row(&mut self, size: u64) {
        self.rows += 1;
        // The clock is not asked for each row.
        if !self.rows.is_multiple_of(256) || self.told.elapsed() < PROGRESS_EVERY {
            return;
        }
        self.told = Instant::now();
        let seconds = self.started.elapsed().as_secs_f64();
        let rate = self.rows as f64 / seconds;
        let left = (self.table.rows as f64 - self.rows as f64).max(0.0) / rate;
        let text = format!(
            "  {}: {} of about {} rows, {}, {} rows/s, {left:.0} s to go",
            self.table.name,
            number(self.rows),
            number(self.table.rows.max(0).cast_unsigned().max(self.rows)),
            bytes(size),
            number(rate as u64),
        );
        // One line that changes, where somebody watches.
        if std::io::stderr().is_terminal() {
            self.line = true;
            eprint!("\r\x1b[K{text}");
            let _ = std::io::stderr().flush();
        } else {
            eprintln!("{text}");
        }
    }

    fn end(self) {
        if self.line {
            eprint!("\r\x1b[K");
        }
    }
}
