//! A process that owns a server until somebody kills it, for the tests of what happens then.
//!
//! `embedded-host FOLDER SQL` says "ready" when it has run the statements.

use std::io::Write;

use embedded::{Options, Server};
use sqlx::{ConnectOptions, Connection};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(sql)) = (arguments.next(), arguments.next()) else {
        return Err("embedded-host FOLDER SQL".into());
    };
    let options = Options {
        data_dir: folder.into(),
        fsync: false,
        bin_dir: None,
    };
    let server = Server::open(options).await?;
    let mut connection = server.admin().connect().await?;
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
        .execute(&mut connection)
        .await?;
    connection.close().await?;
    println!("ready");
    std::io::stdout().flush()?;
    std::future::pending().await
}
