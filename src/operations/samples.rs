//! What has to be asked of databases. Anybody who scrapes may ask as often as they like: the databases
//! are asked every few seconds at most, and a stage that cannot say is left out and counted.

use std::time::Duration;

use bus::{Schema, jobs, lag::Lag};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use crate::app::App;

/// How long an answer counts.
const FRESH: Duration = Duration::from_secs(5);
/// For one stage, or the jobs of a module: a scrape is given up after 10 seconds.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Clone, Default)]
pub struct Sample {
    pub lags: Vec<Lag>,
    /// Of each module.
    pub jobs: Vec<(&'static str, Vec<jobs::LastRun>)>,
    /// Questions without an answer.
    pub unknown: usize,
}

#[derive(Default)]
pub struct Samples {
    last: Mutex<Option<(Instant, Sample)>>,
}

impl Samples {
    pub async fn latest(&self, app: &App) -> Sample {
        // One look at a time; who waits takes its result.
        let mut last = self.last.lock().await;
        match &*last {
            Some((at, sample)) if at.elapsed() < FRESH => sample.clone(),
            _ => {
                let sample = take(app).await;
                *last = Some((Instant::now(), sample.clone()));
                sample
            }
        }
    }
}

async fn take(app: &App) -> Sample {
    let jobs = app.slots().iter().filter_map(|slot| {
        let (name, db) = (slot.name(), slot.db()?);
        Some(async move {
            let schema = Schema::new(name).expect("modules have valid names");
            let record = jobs::JobRecord::new(db.bus_pool().clone(), &schema);
            match timeout(PATIENCE, record.last_runs()).await {
                Ok(Ok(runs)) => Some((name, runs)),
                Ok(Err(_)) | Err(_) => None,
            }
        })
    });
    let (lags, jobs) = tokio::join!(app.bus.lags(PATIENCE), futures::future::join_all(jobs));
    let asked = lags.len() + jobs.len();
    let mut sample = Sample {
        lags: lags.into_iter().filter_map(Result::ok).collect(),
        jobs: jobs.into_iter().flatten().collect(),
        unknown: 0,
    };
    sample.unknown = asked - sample.lags.len() - sample.jobs.len();
    sample
}
