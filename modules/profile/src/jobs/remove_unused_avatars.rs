//! Blobs that belong to nobody go: of pictures that were replaced, taken away or erased, and of those
//! whose upload ended halfway.

use std::sync::Arc;

use async_trait::async_trait;
use kernel::{Job, jobs::JobRun};
use time::Duration;

use crate::{State, blobs::Key, domain::AvatarSize, store};

/// Far longer than a request may take: whoever began to store a picture before that is dead.
const GIVEN_UP_AFTER: Duration = Duration::hours(1);
const BATCH: i64 = 100;

pub(crate) fn job(state: &State) -> Job {
    Job {
        name: "remove_unused_avatars",
        schedule: "45 */5 * * * *",
        run: Arc::new(RemoveUnusedAvatars {
            state: state.clone(),
        }),
    }
}

struct RemoveUnusedAvatars {
    state: State,
}

#[async_trait]
impl JobRun for RemoveUnusedAvatars {
    async fn run(&self) -> anyhow::Result<()> {
        let State { db, blobs, .. } = &self.state;
        let now = db.world().now();
        let mut conn = db.pool().acquire().await?;
        store::avatars::give_up(&mut conn, now - GIVEN_UP_AFTER, now).await?;
        drop(conn);
        let mut removed = 0;
        loop {
            // No connection is held while the store works: it may be on another machine.
            let mut conn = db.pool().acquire().await?;
            let dropped = store::avatars::dropped(&mut conn, BATCH).await?;
            drop(conn);
            if dropped.is_empty() {
                break;
            }
            for avatar_id in &dropped {
                for size in AvatarSize::ALL {
                    blobs.delete(&Key::of_avatar(*avatar_id, size)).await?;
                }
            }
            // The rows last: a run that ends halfway is repeated, and forgets nothing.
            let mut conn = db.pool().acquire().await?;
            store::avatars::forget(&mut conn, &dropped).await?;
            removed += dropped.len();
        }
        if removed > 0 {
            tracing::info!(removed, "unused pictures removed");
        }
        Ok(())
    }
}
