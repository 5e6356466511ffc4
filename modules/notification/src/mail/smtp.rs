//! Mail by SMTP, through lettre.

mod connections;

use std::{fs, sync::Mutex, time::Duration};

use anyhow::Context;
use async_trait::async_trait;
use lettre::{
    Address, Message,
    message::{
        Mailbox, MultiPart,
        header::{HeaderName, HeaderValue},
    },
    transport::smtp::{
        Error,
        authentication::Credentials,
        client::{Certificate, TlsParameters},
        extension::ClientId,
    },
};

use self::connections::{Connections, Security};
use super::{Mail, Mailer, SendError};
use crate::{
    config::{Config, SmtpTls},
    domain::MailAddress,
};

pub(crate) struct SmtpMailer {
    connections: Connections,
    from: Mailbox,
    /// For one mail, from finding a connection to the server's last word.
    deadline: Duration,
}

impl SmtpMailer {
    pub(crate) fn new(config: &Config, product: &str) -> anyhow::Result<Self> {
        let host = config.smtp_host.clone();
        let mut tls = TlsParameters::builder(host.clone());
        if let Some(file) = config.smtp_ca_file() {
            let pem = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            tls = tls.add_root_certificate(
                Certificate::from_pem(&pem)
                    .with_context(|| format!("{} holds no certificate", file.display()))?,
            );
        }
        let security = match config.smtp_tls {
            SmtpTls::None => Security::None,
            SmtpTls::Starttls => Security::Starttls(tls.build()?),
            SmtpTls::Implicit => Security::Implicit(tls.build()?),
        };
        let credentials = config
            .credentials()?
            .map(|(username, password)| Credentials::new(username, password.expose().to_owned()));
        let connections = Connections {
            host,
            port: config.smtp_port(),
            security,
            credentials,
            connect_timeout: config.smtp_timeout(),
            name: ClientId::default(),
            max_idle: usize::try_from(config.send_concurrency)?,
            idle: Mutex::default(),
        };
        let address = MailAddress::parse(&config.from_address)
            .context("from_address is not a mail address")?;
        let from = Mailbox::new(
            Some(header_text(config.sender_name(product))),
            to_lettre(&address)?,
        );
        Ok(Self {
            connections,
            from,
            deadline: config.send_deadline(),
        })
    }

    fn message(&self, mail: &Mail) -> Result<Message, SendError> {
        let unfit = |error: &dyn std::error::Error| {
            SendError::permanent(format!("the mail cannot be written: {error}"))
        };
        let to = to_lettre(&mail.to).map_err(|error| unfit(&*error))?;
        let mut builder = Message::builder();
        if let Some(url) = &mail.unsubscribe {
            let header =
                |name, value| HeaderValue::new(HeaderName::new_from_ascii_str(name), value);
            builder = builder.raw_header(header("List-Unsubscribe", format!("<{url}>")));
            // RFC 8058 §3.1: only what is reached by HTTPS may be posted to without asking.
            if url.scheme() == "https" {
                let one_click = "List-Unsubscribe=One-Click".to_owned();
                builder = builder.raw_header(header("List-Unsubscribe-Post", one_click));
            }
        }
        builder
            .from(self.from.clone())
            // The address alone: a name beside it is a place for text that others have chosen.
            .to(Mailbox::new(None, to))
            .subject(header_text(&mail.content.subject))
            .message_id(Some(mail.message_id.clone()))
            .date(mail.date.into())
            // RFC 3834 §5: no holiday notice comes back to this.
            .raw_header(HeaderValue::new(
                HeaderName::new_from_ascii_str("Auto-Submitted"),
                "auto-generated".to_owned(),
            ))
            .multipart(MultiPart::alternative_plain_html(
                mail.content.text.clone(),
                mail.content.html.clone(),
            ))
            .map_err(|error| unfit(&error))
    }
}

#[async_trait]
impl Mailer for SmtpMailer {
    async fn send(&self, mail: &Mail) -> Result<Option<String>, SendError> {
        let message = self.message(mail)?;
        match tokio::time::timeout(self.deadline, self.connections.send(&message)).await {
            Ok(Ok(reply)) => Ok(Some(reply)),
            Ok(Err(error)) => Err(classify(&error)),
            Err(_) => Err(SendError::temporary("the mail server took too long")),
        }
    }
}

/// lettre takes what it is given into a display name and panics at CR and LF (0.11): control
/// characters go before they get there.
fn header_text(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

fn to_lettre(address: &MailAddress) -> anyhow::Result<Address> {
    Address::new(address.local(), address.domain()).context("the address is not one for SMTP")
}

/// What the server said decides: 5xx is about this mail and for ever (RFC 5321 §4.2.1), unless it
/// is about us. All else may pass.
fn classify(error: &Error) -> SendError {
    let code = error.status().map(|code| code.to_string());
    // Credentials and encryption that are wanted or wrong (RFC 4954 §6, RFC 3207), a host that takes
    // no mail at all (RFC 7504): a matter of configuration, mended in an hour. The mails of that
    // hour are not to be thrown away.
    let about_us = ["521", "530", "534", "535", "538"];
    let is_permanent =
        error.is_permanent() && !code.as_deref().is_some_and(|code| about_us.contains(&code));
    let reply = std::error::Error::source(error).map(ToString::to_string);
    let is_bounce =
        is_permanent && is_bounce(code.as_deref(), reply.as_deref().unwrap_or_default());
    SendError {
        is_permanent,
        is_bounce,
        code,
        text: chain(error),
    }
}

/// Does a refusal for good speak of the address, rather than of what was sent to it or by whom? The
/// enhanced status code at the head of the reply says so (RFC 3463 §3.2: X.1 is the address; X.2.1 a
/// mailbox that is shut). Of servers without, the codes that speak of mailboxes count (RFC 5321
/// §4.2.3, RFC 7504).
fn is_bounce(code: Option<&str>, reply: &str) -> bool {
    let enhanced = reply
        .split_whitespace()
        .next()
        .filter(|word| word.starts_with("5.") && word.split('.').count() == 3)
        .filter(|word| word.bytes().all(|b| b.is_ascii_digit() || b == b'.'));
    match enhanced {
        Some("5.1.7" | "5.1.8") => false, // The sender's address.
        Some(status) => status.starts_with("5.1.") || status == "5.2.1",
        None => matches!(code, Some("550" | "551" | "553" | "556")),
    }
}

/// An error with its sources, which each say a part.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let part = error.to_string();
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::is_bounce;

    #[test]
    fn only_what_speaks_of_the_address_is_a_bounce() {
        for (code, reply, bounce) in [
            ("550", "5.1.1 <ada@example.org>: no such mailbox", true),
            ("550", "5.1.10 RESOLVER.ADR.RecipientNotFound", true),
            ("550", "5.2.1 mailbox disabled", true),
            ("553", "5.1.3 bad syntax", true),
            ("556", "5.1.10 the domain takes no mail", true),
            ("550", "no such user", true),
            ("551", "user not local", true),
            ("550", "5.7.1 looks like spam", false),
            ("550", "5.7.26 unauthenticated sender", false),
            ("553", "5.1.8 the sender's address is no good", false),
            ("552", "5.2.2 mailbox full", false),
            ("552", "message too large", false),
            ("554", "transaction failed", false),
        ] {
            assert_eq!(is_bounce(Some(code), reply), bounce, "{code} {reply}");
        }
        assert!(!is_bounce(None, "connection reset"));
    }
}
