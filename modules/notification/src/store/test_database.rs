//! The module's tables on a server of their own, for tests that need SQL and no bus.

use sqlx::{ConnectOptions, PgPool};

pub(crate) struct TestDatabase {
    pub(crate) pool: PgPool,
    server: embedded::Server,
    _folder: tempfile::TempDir,
}

impl TestDatabase {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let options = embedded::Options {
            data_dir: folder.path().join("postgres"),
            fsync: false,
            bin_dir: None,
        };
        let server = embedded::Server::open(options)
            .await
            .expect("PostgreSQL is installed");
        let mut admin = server
            .admin()
            .connect()
            .await
            .expect("it takes connections");
        sqlx::raw_sql("CREATE SCHEMA notification")
            .execute(&mut admin)
            .await
            .expect("a new cluster");
        crate::MIGRATOR
            .run(&mut admin)
            .await
            .expect("the migrations run");
        let pool = PgPool::connect_with(server.admin())
            .await
            .expect("it takes connections");
        Self {
            pool,
            server,
            _folder: folder,
        }
    }

    pub(crate) async fn stop(self) {
        self.pool.close().await;
        self.server.stop().await.expect("it stops");
    }
}
