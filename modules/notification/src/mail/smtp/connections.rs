//! Connections to one SMTP server.
//!
//! lettre has a pool, and this is why it is not used: its asynchronous connections wait without
//! limit for a reply, and when a caller stops waiting, its pool takes the connection back with the
//! reply still to come (0.11). From then on every answer is to the question before, and the next
//! mail counts as accepted because the last one was. Here a connection goes back only from the
//! quiet end of a mail that was taken.

use std::{
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use lettre::{
    Message,
    transport::smtp::{
        Error,
        authentication::{Credentials, DEFAULT_MECHANISMS},
        client::{AsyncSmtpConnection, TlsParameters},
        extension::ClientId,
    },
};
use tokio::time::{Instant, timeout};

/// Idle connections are not used after this long: most servers hang up after five minutes.
const IDLE: Duration = Duration::from_secs(60);
/// Servers count what comes over one connection, and end it in the middle of a mail.
const MAILS_PER_CONNECTION: u32 = 100;
/// For the question whether an idle connection is alive.
const ALIVE: Duration = Duration::from_secs(2);

/// How the connection is protected.
pub(super) enum Security {
    None,
    /// Required, not opportunistic: whoever sits between could strip the offer of TLS.
    Starttls(TlsParameters),
    Implicit(TlsParameters),
}

pub(super) struct Connections {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) security: Security,
    pub(super) credentials: Option<Credentials>,
    pub(super) connect_timeout: Duration,
    pub(super) name: ClientId,
    /// Kept when idle.
    pub(super) max_idle: usize,
    pub(super) idle: Mutex<Vec<Connection>>,
}

pub(super) struct Connection {
    smtp: AsyncSmtpConnection,
    mails: u32,
    idle_since: Instant,
}

impl Connections {
    /// Hands one mail over, and returns the server's words. May be dropped at any point: the connection goes with it.
    pub(super) async fn send(&self, message: &Message) -> Result<String, Error> {
        let mut connection = match self.alive().await {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let response = connection
            .smtp
            .send(message.envelope(), &message.formatted())
            .await?;
        connection.mails += 1;
        if connection.mails < MAILS_PER_CONNECTION {
            connection.idle_since = Instant::now();
            let mut idle = self.idle();
            if idle.len() < self.max_idle {
                idle.push(connection);
            }
        }
        let words: Vec<_> = response.message().collect();
        Ok(format!("{} {}", response.code(), words.join(" ")))
    }

    /// An idle connection whose server still answers.
    async fn alive(&self) -> Option<Connection> {
        loop {
            let mut connection = self.idle().pop()?;
            if connection.idle_since.elapsed() < IDLE
                && timeout(ALIVE, connection.smtp.test_connected()).await == Ok(true)
            {
                return Some(connection);
            }
        }
    }

    async fn connect(&self) -> Result<Connection, Error> {
        let implicit = match &self.security {
            Security::Implicit(tls) => Some(tls.clone()),
            Security::Starttls(_) | Security::None => None,
        };
        let server = (self.host.as_str(), self.port);
        let patience = Some(self.connect_timeout);
        let mut smtp =
            AsyncSmtpConnection::connect_tokio1(server, patience, &self.name, implicit, None)
                .await?;
        if let Security::Starttls(tls) = &self.security {
            // An error when the server does not offer it.
            smtp.starttls(tls.clone(), &self.name).await?;
        }
        if let Some(credentials) = &self.credentials {
            smtp.auth(DEFAULT_MECHANISMS, credentials).await?;
        }
        Ok(Connection {
            smtp,
            mails: 0,
            idle_since: Instant::now(),
        })
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().expect("no holder panics")
    }
}
