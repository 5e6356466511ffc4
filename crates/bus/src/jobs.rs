//! Which instance runs a scheduled job, and how it went.

use sqlx::PgPool;

use crate::schema::{Schema, safe, statements};

statements! {
    /// What keeps the record of jobs.
    JobStatements {
        started: "
            INSERT INTO {schema}.jobs (name, started_at) VALUES ($1, clock_timestamp())
            ON CONFLICT (name) DO UPDATE SET started_at = clock_timestamp()",
        finished: "
            UPDATE {schema}.jobs SET finished_at = clock_timestamp(), error = $2 WHERE name = $1",
    }
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

    pub async fn finished(&self, job: &str, error: Option<&str>) -> Result<(), sqlx::Error> {
        sqlx::query(safe(&self.statements.finished))
            .bind(job)
            .bind(error)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}
