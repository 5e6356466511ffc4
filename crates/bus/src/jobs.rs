//! Which instance runs a scheduled job, and how it went.

use sqlx::{PgPool, Row};

use crate::schema::{Schema, safe, statements};

statements! {
    /// What keeps the record of jobs.
    JobStatements {
        started: "
            INSERT INTO {schema}.jobs (name, started_at) VALUES ($1, clock_timestamp())
            ON CONFLICT (name) DO UPDATE SET started_at = clock_timestamp()",
        finished: "
            UPDATE {schema}.jobs SET finished_at = clock_timestamp(), error = $2 WHERE name = $1",
        last: "
            SELECT name, error IS NOT NULL AS failed,
                   extract(epoch FROM finished_at)::float8 AS finished_at
              FROM {schema}.jobs WHERE finished_at IS NOT NULL ORDER BY name",
    }
}

/// How a job's last run that has ended went, on whichever instance it was.
#[derive(Clone, Debug)]
pub struct LastRun {
    pub job: String,
    pub failed: bool,
    /// Seconds since 1970, by the database's clock.
    pub finished_at: f64,
}

/// The lease under which a job runs.
pub fn lease_name(job: &str) -> String {
    format!("job:{job}")
}

/// The last runs of a module's jobs.
#[derive(Debug)]
pub struct JobRecord {
    pool: PgPool,
    statements: JobStatements,
}

impl JobRecord {
    pub fn new(pool: PgPool, schema: &Schema) -> Self {
        Self {
            pool,
            statements: JobStatements::new(schema),
        }
    }

    pub async fn started(&self, job: &str) -> Result<(), sqlx::Error> {
        sqlx::query(safe(&self.statements.started))
            .bind(job)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    pub async fn last_runs(&self) -> Result<Vec<LastRun>, sqlx::Error> {
        let rows = sqlx::query(safe(&self.statements.last)).fetch_all(&self.pool);
        let read = |row: &sqlx::postgres::PgRow| {
            Ok(LastRun {
                job: row.try_get("name")?,
                failed: row.try_get("failed")?,
                finished_at: row.try_get("finished_at")?,
            })
        };
        rows.await?.iter().map(read).collect()
    }

    pub async fn finished(&self, job: &str, error: Option<&str>) -> Result<(), sqlx::Error> {
        sqlx::query(safe(&self.statements.finished))
            .bind(job)
            .bind(error)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}
