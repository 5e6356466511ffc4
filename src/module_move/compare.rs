//! Is the same on both sides? Counted and summed by the servers themselves, over what is stored.

use anyhow::{Context, ensure};
use sqlx::{AssertSqlSafe, PgConnection};

use super::{end::End, tables::Table};

/// Rows, and the sum of their digests: whatever their order, 128 bits.
#[derive(Debug, PartialEq, Eq)]
struct Sum {
    rows: i64,
    digest: (String, String),
}

/// # Errors
/// When a table has other rows on one side than on the other.
pub(super) async fn compare(
    source: &mut End,
    target: &mut End,
    tables: &[Table],
) -> anyhow::Result<()> {
    for table in tables {
        let (here, there) =
            futures::try_join!(sum(&mut source.conn, table), sum(&mut target.conn, table))
                .with_context(|| format!("{} could not be compared", table.name))?;
        ensure!(
            here == there,
            "{} is not the same on both sides: {} rows at the source, {} at the target{}",
            table.name,
            here.rows,
            there.rows,
            if here.rows == there.rows {
                ", with another content"
            } else {
                ""
            }
        );
    }
    Ok(())
}

async fn sum(conn: &mut PgConnection, table: &Table) -> Result<Sum, sqlx::Error> {
    // MD5 against damage, not against an enemy; hashes of the server may change with its version.
    let part = |from| {
        format!(
            "coalesce(sum(('x' || substr(digest, {from}, 16))::bit(64)::bigint::numeric), 0)::text"
        )
    };
    let query = format!(
        "SELECT count(*), {}, {} FROM (SELECT md5(ROW({})::text) AS digest FROM ONLY {}) AS rows",
        part(1),
        part(17),
        table.all_columns,
        table.name
    );
    let (rows, low, high) = sqlx::query_as(AssertSqlSafe(query)).fetch_one(conn).await?;
    Ok(Sum {
        rows,
        digest: (low, high),
    })
}
