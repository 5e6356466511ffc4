//! A module's background work: subscriptions, workers and timed jobs.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use bus::{Attached, Bus, Schema, jobs};
use kernel::{Job, RequestContext, Worker, World};
use tokio::task::JoinSet;
use tokio_cron_scheduler::JobScheduler;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::app::Hosted;

/// How long a worker pauses after failures, at most.
const FAILURE_PAUSE_MAX: Duration = Duration::from_secs(30);

/// Batches that a worker may still do after the signal to stop.
const LAST_ROUNDS: u32 = 20;

/// Which work a process does besides answering requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Roles {
    /// Answers requests and works in the background.
    All,
    /// Answers requests only.
    Web,
    /// Works in the background; answers health checks only.
    Worker,
}

impl Roles {
    pub fn serves(self) -> bool {
        self != Self::Worker
    }

    pub fn works(self) -> bool {
        self != Self::Web
    }
}

/// Runs a module's background work until the token is cancelled; then what is in hand is finished.
/// Ends early with an error when a part of it cannot go on.
pub async fn run(
    bus: &Arc<Bus>,
    hosted: &mut Hosted,
    roles: Roles,
    world: &World,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let stop = stop.child_token();
    let mut tasks: JoinSet<anyhow::Result<()>> = JoinSet::new();
    for worker in hosted.process_workers.drain(..) {
        tasks.spawn(run_worker(worker, world.clone(), stop.clone()));
    }
    let mut scheduler = None;
    if roles.works() {
        for worker in hosted.workers.drain(..) {
            tasks.spawn(run_worker(worker, world.clone(), stop.clone()));
        }
        let (bus, attached, token) = (Arc::clone(bus), Arc::clone(&hosted.attached), stop.clone());
        tasks.spawn(async move { bus.run(attached, token).await });
        scheduler = Some(schedule(hosted, world).await?);
    } else {
        let (attached, token) = (Arc::clone(&hosted.attached), stop.clone());
        tasks.spawn(async move {
            token.run_until_cancelled(attached.run_wakeup()).await;
            Ok(())
        });
    }
    let mut result = Ok(());
    while let Some(ended) = tasks.join_next().await {
        if !stop.is_cancelled() {
            result = match ended {
                Ok(Ok(())) => Err(anyhow::anyhow!("background work ended by itself")),
                Ok(Err(error)) => Err(error),
                Err(panic) => Err(anyhow::anyhow!("background work panicked: {panic}")),
            };
            stop.cancel();
        }
    }
    if let Some(mut scheduler) = scheduler {
        let _ = scheduler.shutdown().await;
    }
    result
}

async fn run_worker(worker: Worker, world: World, stop: CancellationToken) -> anyhow::Result<()> {
    let mut failures: u32 = 0;
    let mut last_rounds = 0;
    loop {
        let last_round = stop.is_cancelled();
        last_rounds += u32::from(last_round);
        let span = tracing::info_span!("worker", worker.name = worker.name);
        let round = worker.run.run().instrument(span);
        let pause = match RequestContext::root(&world).scope(round).await {
            Ok(true) if last_rounds < LAST_ROUNDS => continue,
            Ok(_) => {
                failures = 0;
                worker.poll
            }
            Err(error) => {
                if failures == 0 {
                    let error = format!("{error:#}");
                    tracing::warn!(worker.name = worker.name, error, "worker failed");
                }
                failures += 1;
                (worker.poll.max(Duration::from_millis(100)) * (1 << failures.min(8)))
                    .min(FAILURE_PAUSE_MAX)
            }
        };
        // What waits in memory is stored before the process ends.
        if last_round {
            return Ok(());
        }
        tokio::select! {
            () = worker.wake.notified(), if failures == 0 => {}
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => {}
        }
    }
}

async fn schedule(hosted: &Hosted, world: &World) -> anyhow::Result<JobScheduler> {
    let scheduler = JobScheduler::new().await?;
    for job in &hosted.jobs {
        let (job, attached, world) = (Arc::clone(job), Arc::clone(&hosted.attached), world.clone());
        let name = job.name;
        let turn = Arc::new(tokio::sync::Mutex::new(()));
        let timed = tokio_cron_scheduler::Job::new_async(job.schedule, move |_, _| {
            let (job, attached, world) = (Arc::clone(&job), Arc::clone(&attached), world.clone());
            let turn = Arc::clone(&turn);
            Box::pin(async move {
                // The run before may take longer than the time between two.
                if let Ok(_turn) = turn.try_lock() {
                    run_job(&job, &attached, &world).await;
                }
            })
        })
        .with_context(|| format!("schedule of the job {name}"))?;
        scheduler.add(timed).await?;
    }
    scheduler.start().await?;
    Ok(scheduler)
}

/// Runs a job if this instance holds its lease.
pub async fn run_job(job: &Job, attached: &Attached, world: &World) {
    if attached
        .leases()
        .epoch(&jobs::lease_name(job.name))
        .is_none()
    {
        return;
    }
    let schema = Schema::new(attached.db().module()).expect("modules have valid names");
    let record = jobs::JobRecord::new(attached.db().bus_pool().clone(), &schema);
    let run = async {
        record.started(job.name).await?;
        let result = job.run.run().await;
        let error = result.as_ref().err().map(|error| format!("{error:#}"));
        record.finished(job.name, error.as_deref()).await?;
        result
    };
    let span = tracing::info_span!("job", job.name = job.name);
    if let Err(error) = RequestContext::root(world)
        .scope(run.instrument(span))
        .await
    {
        tracing::error!(
            job.name = job.name,
            error = format!("{error:#}"),
            "job failed"
        );
    }
}
