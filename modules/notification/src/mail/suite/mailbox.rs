//! The development mailbox, on a database of its own.

use kernel::World;

use super::{Arrived, passes, samples};
use crate::{
    mail::{Mailer, mailbox::MailboxMailer},
    store::{self, test_database::TestDatabase},
};

#[tokio::test]
async fn the_mailbox_passes_the_suite() {
    let database = TestDatabase::start().await;
    let pool = database.pool.clone();
    let mailer = MailboxMailer {
        pool: pool.clone(),
        world: World::system(),
    };
    let mut expected = passes(&mailer).await;
    // Handed over twice, as after a crash between sending and noting it: shown once.
    let twice = &samples()[0].0;
    mailer.send(twice).await.expect("it is taken");
    let mut conn = pool.acquire().await.expect("a connection");
    let kept = store::mailbox::newest(&mut conn, 200)
        .await
        .expect("it can be read");
    assert_eq!(kept.len(), expected.len());

    // All mails of the suite are of one moment: what is left is the last by id.
    store::mailbox::purge(&mut conn, 3)
        .await
        .expect("it can be purged");
    assert_eq!(
        store::mailbox::newest(&mut conn, 200)
            .await
            .expect("rows")
            .len(),
        3
    );

    let mut arrived = Vec::new();
    for mail in kept {
        // The table keeps the Message-ID as a key only.
        let at = expected
            .iter()
            .position(|e| e.to == mail.recipient && e.subject == mail.subject)
            .expect("no other mails");
        let message_id = expected.remove(at).message_id;
        let (to, subject) = (mail.recipient, mail.subject);
        arrived.push(Arrived {
            message_id,
            to,
            subject,
            text: mail.text,
            html: mail.html,
        });
    }
    let mut all = samples().into_iter().map(|(_, arrived)| arrived);
    assert!(all.all(|sample| arrived.contains(&sample)));
    drop(conn);
    database.stop().await;
}
