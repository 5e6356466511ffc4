//! Every mail with made-up data, for whoever wants to see what people get. It takes the way that a real
//! one takes, from the message as its row keeps it.

use kernel::{Sealer, World};
use time::{Duration, macros::datetime};
use uuid::Uuid;

use super::{Rendered, SendError, content, render, render::Frame};
use crate::domain::{Category, Locale, Message, Occurrence, Words};

const CODE: &str = "123456";
/// How long codes are good in the previews.
const VALID_FOR: Duration = Duration::minutes(15);

/// One of each template.
fn samples(world: &World, sealer: &Sealer) -> Vec<Message> {
    let id = Uuid::nil();
    let code = |kind: &str| sealer.seal(world, &format!("{kind}:{id}"), &CODE.to_owned());
    let seen = || Occurrence {
        at: datetime!(2026-02-03 04:05:06 UTC),
        time_zone: "Europe/Vienna".to_owned(),
        address: Some([203, 0, 113, 7].into()),
        device: Some("Firefox on Linux".to_owned()),
    };
    vec![
        Message::Verification {
            registration_id: id,
            code: code("verification"),
        },
        Message::SignInCode {
            code_id: id,
            code: code("code"),
        },
        Message::PasswordResetCode {
            code_id: id,
            code: code("code"),
        },
        Message::AddressTaken {},
        Message::PasswordChanged {
            was_reset: false,
            seen: seen(),
        },
        Message::UnfamiliarSignIn { seen: seen() },
        Message::Welcome {
            display_name: Some("Ada Lovelace".to_owned()),
        },
        Message::FromService {
            category: Category::Product,
            words: Words {
                title: "Your order is on its way".to_owned(),
                body: "It arrives tomorrow.\n\nYou need not be at home.".to_owned(),
                action_url: Words::action_url("https://shop.example.com/orders/1").ok(),
            },
        },
    ]
}

/// A template's name and what its mails are about.
pub(crate) fn templates(world: &World, sealer: &Sealer) -> Vec<(String, Category)> {
    samples(world, sealer)
        .iter()
        .map(|message| (message.to_columns().0, message.category()))
        .collect()
}

/// Nothing when there is no such template.
pub(crate) fn preview(
    name: &str,
    locale: Locale,
    world: &World,
    sealer: &Sealer,
    frame: &Frame,
) -> Option<Result<(Category, Rendered), SendError>> {
    let message = samples(world, sealer)
        .into_iter()
        .find(|message| message.to_columns().0 == name)?;
    let category = message.category();
    // Where the link would be; this one stops nothing.
    let unsubscribe = (category != Category::Security)
        .then(|| frame.link(&["notifications", "unsubscribe"], &[("token", "preview")]));
    let rendered = content(message, locale, VALID_FOR, sealer, frame).and_then(|content| {
        render(&content, locale, frame, unsubscribe.as_ref())
            .map_err(|error| SendError::permanent(error.to_string()))
    });
    Some(rendered.map(|rendered| (category, rendered)))
}

#[cfg(test)]
mod tests {
    use kernel::{Secrets, secret::Key};

    use super::*;

    #[test]
    fn every_template_has_a_preview_in_every_language() {
        let (world, key) = (World::system(), Key::new([1; 32]));
        let secrets = Secrets::for_module(&key, &key, "notification");
        let frame = Frame {
            product: "Banyan".to_owned(),
            public_url: "https://app.example.org".parse().unwrap(),
        };
        let folder = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../templates/notification/mail"
        );
        let mut names: Vec<_> = templates(&world, secrets.sealer())
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        for name in &names {
            for locale in Locale::ALL {
                let preview = preview(name, locale, &world, secrets.sealer(), &frame);
                let (_, mail) = preview.expect("there is one").expect("it renders");
                assert!(
                    !mail.subject.is_empty() && mail.html.contains("Banyan"),
                    "{name}"
                );
            }
        }
        assert!(preview("none", Locale::En, &world, secrets.sealer(), &frame).is_none());
        // And no template is without one.
        names.sort();
        let mut files: Vec<_> = std::fs::read_dir(format!("{folder}/en"))
            .unwrap()
            .map(|file| file.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
            .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        files.sort();
        assert_eq!(names, files);
    }
}
