//! `banyan audit verify`.

use anyhow::{Context, bail, ensure};
use sqlx::PgPool;

use crate::{
    domain::{
        chain::{Checkpoint, Entry},
        verifier::{Fault, Verifier},
    },
    store::audit,
};

/// Entries fetched at a time: while one page is hashed, the next is on its way.
const PAGE: i64 = 10_000;

/// What to verify.
pub(crate) struct Scope {
    pub(crate) from: i64,
    pub(crate) to: Option<i64>,
    pub(crate) expected: Option<Checkpoint>,
}

#[derive(Debug)]
pub(crate) struct Verified {
    pub(crate) entries: i64,
    /// Of which the content is gone.
    pub(crate) erased: i64,
    /// The last of them.
    pub(crate) head: Checkpoint,
}

/// Reads in short statements, not in one snapshot that would hold up VACUUM for hours; entries do
/// not change, and those that are appended meanwhile come after the end that is looked up first.
pub(crate) async fn verify(
    pool: &PgPool,
    scope: Scope,
    progress: impl Fn(i64, i64),
) -> anyhow::Result<Verified> {
    let mut conn = pool.acquire().await?;
    let ends = audit::ends(&mut conn).await?;
    let ends = ends.context("the head of the chain is missing: somebody deleted it")?;
    let end = ends.head.seq;
    if let Some(expected) = scope.expected {
        check_expected(
            audit::checkpoint(&mut conn, expected.seq).await?,
            expected,
            end,
        )?;
    }
    let last = scope.to.unwrap_or(end);
    ensure!(
        last <= end,
        "entry {last} does not exist: the chain ends with entry {end}"
    );
    ensure!(
        scope.from <= last + 1,
        "there is nothing from entry {} to entry {last}",
        scope.from
    );

    let start = match scope.from - 1 {
        0 => Checkpoint::GENESIS,
        before => audit::checkpoint(&mut conn, before)
            .await?
            .with_context(|| {
                format!("entry {before} is missing: there is nothing to start from")
            })?,
    };
    let mut verifier = Verifier::after(start);
    let mut page = audit::page(&mut conn, scope.from, last, PAGE).await?;
    while let Some(following) = page.last().map(|entry| entry.metadata.seq + 1) {
        let (checked, next) = tokio::join!(
            tokio::task::spawn_blocking(move || check(verifier, &page)),
            audit::page(&mut conn, following, last, PAGE),
        );
        verifier = checked??;
        page = next?;
        let (done, of) = (verifier.verified().seq - start.seq, last - start.seq);
        if done < of {
            progress(done, of);
        }
    }
    let head = verifier.end(last)?;

    if scope.to.is_none() {
        ensure!(
            head == ends.head,
            "the chain ends with {head}, but its head is recorded as {}",
            ends.head
        );
        ensure!(
            ends.last_seq == end,
            "entry {} is not part of the chain, whose head is entry {end}",
            end + 1
        );
    }
    Ok(Verified {
        entries: head.seq - start.seq,
        erased: verifier.erased(),
        head,
    })
}

fn check(mut verifier: Verifier, entries: &[Entry]) -> Result<Verifier, Fault> {
    for entry in entries {
        verifier.check(entry)?;
    }
    Ok(verifier)
}

/// Whoever can rewrite the whole table can make a chain that verifies: what was kept elsewhere
/// tells it from the one that was.
fn check_expected(found: Option<Checkpoint>, expected: Checkpoint, end: i64) -> anyhow::Result<()> {
    let seq = expected.seq;
    match found {
        _ if expected == Checkpoint::GENESIS => Ok(()),
        Some(found) if found == expected => Ok(()),
        Some(found) => bail!("entry {seq} is {found}, not {expected}: the chain was rewritten"),
        None if seq > end => {
            bail!("entry {seq} is missing: the chain ends with entry {end}, its tail was cut off")
        }
        None => bail!("entry {seq} is missing"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_shows_what_the_chain_itself_cannot() {
        let expected = Checkpoint {
            seq: 5,
            hash: [1; 32],
        };
        assert!(check_expected(Some(expected), expected, 9).is_ok());
        let rewritten = Checkpoint {
            seq: 5,
            hash: [2; 32],
        };
        let error = check_expected(Some(rewritten), expected, 9)
            .unwrap_err()
            .to_string();
        assert!(error.contains("rewritten"), "{error}");
        let error = check_expected(None, expected, 4).unwrap_err().to_string();
        assert!(error.contains("cut off"), "{error}");
        assert!(check_expected(None, Checkpoint::GENESIS, 0).is_ok());
    }
}
