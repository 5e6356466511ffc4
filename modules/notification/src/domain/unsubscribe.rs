//! The right to stop mails of one kind to one person, as a link carries it (RFC 8058).

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use kernel::{
    UserId,
    secret::{Key, constant_time_eq},
};
use uuid::Uuid;

use super::{Category, Channel};

/// Makes such tokens and knows them again. A token needs no sign-in, holds no secret that does more,
/// and does not expire: an old mail can still be unsubscribed from.
#[derive(Clone, Debug)]
pub(crate) struct Unsubscriber {
    key: Key,
}

impl Unsubscriber {
    pub(crate) fn new(key: Key) -> Self {
        Self { key }
    }

    /// Nothing when mails of the category cannot be switched off.
    pub(crate) fn token(&self, user_id: UserId, category: Category) -> Option<String> {
        (!category.is_required(Channel::Email)).then(|| {
            let mac = BASE64_URL_SAFE_NO_PAD.encode(self.mac(user_id, category));
            format!("{}.{}.{mac}", category.as_str(), user_id.0.simple())
        })
    }

    /// Nothing when it was not made here.
    pub(crate) fn read(&self, token: &str) -> Option<(UserId, Category)> {
        let mut parts = token.split('.');
        let category = Category::parse(parts.next()?)?;
        let user_id = UserId(Uuid::try_parse(parts.next()?).ok()?);
        let expected = self.token(user_id, category)?;
        constant_time_eq(expected.as_bytes(), token.as_bytes()).then_some((user_id, category))
    }

    fn mac(&self, user_id: UserId, category: Category) -> [u8; 32] {
        self.key
            .mac(&[user_id.0.as_bytes(), category.as_str().as_bytes()])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unsubscriber(key: u8) -> Unsubscriber {
        Unsubscriber::new(Key::new([key; 32]))
    }

    #[test]
    fn a_token_is_good_for_its_person_and_category_alone() {
        let (ada, eve) = (UserId(Uuid::from_u128(1)), UserId(Uuid::from_u128(2)));
        let own = unsubscriber(1);
        let token = own.token(ada, Category::Product).expect("a token");
        assert_eq!(own.read(&token), Some((ada, Category::Product)));
        assert_eq!(unsubscriber(2).read(&token), None);
        assert_eq!(own.token(ada, Category::Security), None);
        let forged = [
            token.replace("product", "account"),
            token.replace("product", "security"),
            token.replace(&ada.0.simple().to_string(), &eve.0.simple().to_string()),
            token.replace(&ada.0.simple().to_string(), &ada.0.to_string()),
            token.to_uppercase(),
            format!("{token}."),
            format!("{token}A"),
            token[..token.len() - 1].to_owned(),
            token.rsplit_once('.').unwrap().0.to_owned(),
            String::new(),
        ];
        for forged in forged {
            assert_eq!(own.read(&forged), None, "{forged}");
        }
    }

    proptest! {
        #[test]
        fn what_was_not_made_here_is_nothing(token in "(product|account)?\\.?[0-9a-f]{0,32}\\.?\\PC{0,50}") {
            prop_assert_eq!(unsubscriber(1).read(&token), None);
        }
    }
}
