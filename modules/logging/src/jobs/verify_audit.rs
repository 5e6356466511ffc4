//! Verifies the audit trail when an administrator has asked for it.

use std::{pin::pin, time::Duration};

use async_trait::async_trait;
use kernel::{Db, jobs::WorkerRun};
use tokio::{sync::watch, time::interval};

use crate::{
    store::verifications::{self, Claim, Outcome},
    verbs::verify::{Scope, verify},
};

/// Between two words on how far it has come. Well within a claim.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

pub(crate) struct VerifyAudit {
    pub(crate) db: Db,
}

#[async_trait]
impl WorkerRun for VerifyAudit {
    async fn run(&self) -> anyhow::Result<bool> {
        let claim = verifications::claim(&mut *self.db.pool().acquire().await?).await?;
        if let Some(claim) = claim {
            self.verify(claim).await?;
        }
        Ok(false)
    }
}

impl VerifyAudit {
    async fn verify(&self, claim: Claim) -> anyhow::Result<()> {
        let pool = self.db.pool();
        let (tell, heard) = watch::channel((0, 0));
        let scope = Scope {
            from: 1,
            to: None,
            expected: None,
        };
        let mut work = pin!(verify(pool, scope, move |done, of| {
            tell.send_replace((done, of));
        }));
        let mut ticks = interval(PROGRESS_EVERY);
        let result = loop {
            tokio::select! {
                result = &mut work => break result,
                _ = ticks.tick() => {
                    let (done, of) = *heard.borrow();
                    let mut conn = pool.acquire().await?;
                    if !verifications::progress(&mut conn, claim, done, of).await? {
                        return Ok(());
                    }
                }
            }
        };
        let outcome = match result {
            Ok(verified) => Outcome {
                verified: verified.entries,
                erased: verified.erased,
                head: Some(verified.head.to_string()),
                fault: None,
            },
            // A database that cannot be read says nothing of the trail: another attempt comes.
            Err(error) if error.downcast_ref::<sqlx::Error>().is_some() => return Err(error),
            Err(error) => {
                tracing::error!(%error, "the audit trail does not verify");
                Outcome {
                    verified: heard.borrow().0,
                    erased: 0,
                    head: None,
                    fault: Some(error.to_string()),
                }
            }
        };
        let mut conn = pool.acquire().await?;
        verifications::finish(&mut conn, claim, &outcome).await?;
        Ok(())
    }
}
