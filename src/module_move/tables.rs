//! What a schema holds: tables in the order in which they can be filled, partitions, sequences.

use std::collections::BTreeSet;

use anyhow::{bail, ensure};
use sqlx::{PgConnection, Row};

use super::end::End;

/// Of the schema itself and not of the module: each copy has its own.
const OWN: [&str; 3] = ["place", "bus_migrations", "schema_migrations"];

/// A table that holds rows itself. Names are quoted for SQL.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub name: String,
    /// Those that are written; the server computes the others.
    pub columns: String,
    pub all_columns: String,
    /// As far as the server's statistics know.
    pub rows: i64,
}

/// A partition as it is to be made on the other side.
#[derive(Debug)]
pub(super) struct Partition {
    pub name: String,
    pub parent: String,
    /// `FOR VALUES …`
    pub bounds: String,
    /// What the runtime role may do with it, past its parent.
    pub privileges: Option<String>,
}

/// A sequence and where it stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sequence {
    pub name: String,
    pub last_value: i64,
    pub is_called: bool,
}

/// Whose rows are to be there before whose.
type Reference = (String, String);

/// # Errors
/// When the schema holds something that rows and sequences do not carry over.
pub(super) async fn tables(end: &mut End) -> anyhow::Result<Vec<Table>> {
    refuse_unknown(end).await?;
    let rows = sqlx::query(
        "SELECT format('%I.%I', n.nspname, c.relname) AS name,
                string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)
                    FILTER (WHERE a.attgenerated = '') AS columns,
                string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) AS all_columns,
                greatest(c.reltuples, pg_stat_get_live_tuples(c.oid))::bigint AS rows
           FROM pg_class c
           JOIN pg_namespace n ON n.oid = c.relnamespace
           JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
          WHERE n.nspname = $1 AND c.relkind = 'r' AND c.relname <> ALL($2)
          GROUP BY n.nspname, c.oid, c.relname, c.reltuples
          ORDER BY c.relname",
    )
    .bind(end.module)
    .bind(OWN)
    .fetch_all(&mut end.conn)
    .await?;
    let tables = rows
        .iter()
        .map(|row| {
            Ok(Table {
                name: row.try_get("name")?,
                columns: row.try_get("columns")?,
                all_columns: row.try_get("all_columns")?,
                rows: row.try_get("rows")?,
            })
        })
        .collect::<Result<Vec<_>, sqlx::Error>>()?;
    ensure!(!tables.is_empty(), "{} has no tables", end.module);
    in_order(tables, &references(end).await?)
}

/// Keys from table to table. None may cross the schema's border: its other end would stay behind.
async fn references(end: &mut End) -> anyhow::Result<Vec<Reference>> {
    let rows = sqlx::query(
        "SELECT k.conname, from_space.nspname = to_space.nspname AS inside,
                format('%I.%I', from_space.nspname, f.relname) AS referrer,
                format('%I.%I', to_space.nspname, t.relname) AS referred
           FROM pg_constraint k
           JOIN pg_class f ON f.oid = k.conrelid
           JOIN pg_namespace from_space ON from_space.oid = f.relnamespace
           JOIN pg_class t ON t.oid = k.confrelid
           JOIN pg_namespace to_space ON to_space.oid = t.relnamespace
          WHERE k.contype = 'f' AND $1 IN (from_space.nspname, to_space.nspname)",
    )
    .bind(end.module)
    .fetch_all(&mut end.conn)
    .await?;
    let mut references = Vec::new();
    for row in rows {
        let (referrer, referred): (String, String) =
            (row.try_get("referrer")?, row.try_get("referred")?);
        ensure!(
            row.try_get::<bool, _>("inside")?,
            "the key {} leads from {referrer} to {referred}, across the schema's border: a module \
             that moves takes no key along",
            row.try_get::<String, _>("conname")?
        );
        references.push((referrer, referred));
    }
    Ok(references)
}

/// What is referred to goes before what refers to it.
fn in_order(mut waiting: Vec<Table>, references: &[Reference]) -> anyhow::Result<Vec<Table>> {
    let mut placed: Vec<Table> = Vec::new();
    while !waiting.is_empty() {
        let names: BTreeSet<_> = waiting.iter().map(|table| table.name.clone()).collect();
        let waits = |table: &Table| {
            references.iter().any(|(referrer, referred)| {
                *referrer == table.name && referred != referrer && names.contains(referred)
            })
        };
        let (stay, go): (Vec<_>, Vec<_>) = waiting.into_iter().partition(waits);
        if go.is_empty() {
            let names: Vec<_> = stay.iter().map(|table| &*table.name).collect();
            bail!("keys lead in a circle, so that none of these can be filled first: {names:?}");
        }
        placed.extend(go);
        waiting = stay;
    }
    Ok(placed)
}

async fn refuse_unknown(end: &mut End) -> anyhow::Result<()> {
    let found: Vec<String> = sqlx::query_scalar(
        "SELECT c.oid::regclass::text
           FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE n.nspname = $1
            AND (c.relkind NOT IN ('r', 'p', 'i', 'I', 'S', 'v', 'c', 't')
                 OR c.relispartition AND c.relkind = 'p'
                 OR c.relpersistence <> 'p')",
    )
    .bind(end.module)
    .fetch_all(&mut end.conn)
    .await?;
    ensure!(
        found.is_empty(),
        "the schema holds what is no plain table, and is not moved: {}",
        found.join(", ")
    );
    Ok(())
}

pub(super) async fn partitions(end: &mut End) -> anyhow::Result<Vec<Partition>> {
    let rows = sqlx::query(
        "SELECT format('%I.%I', n.nspname, c.relname) AS name, i.inhparent::regclass::text AS parent,
                pg_get_expr(c.relpartbound, c.oid) AS bounds,
                (SELECT string_agg(a.privilege_type, ', ')
                   FROM aclexplode(c.relacl) a WHERE a.grantee = $2::regrole) AS privileges
           FROM pg_class c
           JOIN pg_namespace n ON n.oid = c.relnamespace
           JOIN pg_inherits i ON i.inhrelid = c.oid
          WHERE n.nspname = $1 AND c.relispartition AND c.relkind = 'r'
          ORDER BY c.relname",
    )
    .bind(end.module)
    .bind(&end.runtime)
    .fetch_all(&mut end.conn)
    .await?;
    let partitions = rows.iter().map(|row| {
        Ok(Partition {
            name: row.try_get("name")?,
            parent: row.try_get("parent")?,
            bounds: row.try_get("bounds")?,
            privileges: row.try_get("privileges")?,
        })
    });
    Ok(partitions.collect::<Result<_, sqlx::Error>>()?)
}

pub(super) async fn sequences(end: &mut End) -> anyhow::Result<Vec<Sequence>> {
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT format('%I.%I', n.nspname, c.relname)
           FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE n.nspname = $1 AND c.relkind = 'S' ORDER BY c.relname",
    )
    .bind(end.module)
    .fetch_all(&mut end.conn)
    .await?;
    let mut sequences = Vec::new();
    for name in names {
        let (last_value, is_called) = stands(&mut end.conn, &name).await?;
        sequences.push(Sequence {
            name,
            last_value,
            is_called,
        });
    }
    Ok(sequences)
}

async fn stands(conn: &mut PgConnection, name: &str) -> Result<(i64, bool), sqlx::Error> {
    let query = format!("SELECT last_value, is_called FROM {name}");
    sqlx::query_as(sqlx::AssertSqlSafe(query))
        .fetch_one(conn)
        .await
}

/// The migrations that made a schema: set, number and checksum.
pub(super) async fn migrations(end: &mut End) -> anyhow::Result<Vec<(i32, i64, Vec<u8>)>> {
    let schema = &end.schema;
    let query = format!(
        "SELECT 0, version, checksum FROM {schema}.bus_migrations
         UNION ALL SELECT 1, version, checksum FROM {schema}.schema_migrations ORDER BY 1, 2"
    );
    Ok(sqlx::query_as(sqlx::AssertSqlSafe(query))
        .fetch_all(&mut end.conn)
        .await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str) -> Table {
        Table {
            name: name.to_owned(),
            columns: String::new(),
            all_columns: String::new(),
            rows: 0,
        }
    }

    fn key(from: &str, to: &str) -> Reference {
        (from.to_owned(), to.to_owned())
    }

    #[test]
    fn what_is_referred_to_comes_first() {
        let tables = ["a", "b", "c"].map(table).to_vec();
        let keys = [key("a", "b"), key("b", "c"), key("b", "b")];
        let order: Vec<_> = in_order(tables, &keys)
            .unwrap()
            .into_iter()
            .map(|table| table.name)
            .collect();
        assert_eq!(order, ["c", "b", "a"]);
    }

    #[test]
    fn a_circle_of_keys_is_refused() {
        let tables = ["a", "b"].map(table).to_vec();
        let error = in_order(tables, &[key("a", "b"), key("b", "a")]).unwrap_err();
        assert!(error.to_string().contains("circle"), "{error}");
    }
}
