//! What the pages for people say.

use kernel::Text;

macro_rules! texts {
    ($($name:ident: $en:literal, $de:literal;)*) => {
        $(pub(crate) const $name: Text = Text::new($en, $de);)*
    };
}

texts! {
    NOTIFICATIONS: "Notifications", "Mitteilungen";
    UNREAD: "unread", "ungelesen";
    NEW: "New", "Neu";
    NONE_YET: "Nothing yet. What happens to your account shows here.",
        "Noch nichts. Was mit Ihrem Konto geschieht, steht hier.";
    OPEN: "Go there", "Dorthin";
    MARK_READ: "Mark as read", "Als gelesen markieren";
    MARK_ALL_READ: "Mark all as read", "Alle als gelesen markieren";
    OLDER: "Older ones", "Ältere";
    NEWEST: "Back to the newest", "Zurück zu den neuesten";

    PREFERENCES: "What you are told, and where", "Was Ihnen mitgeteilt wird, und wo";
    BY_MAIL: "By mail", "Per E-Mail";
    IN_APP: "On this page", "Auf dieser Seite";
    SECURITY: "Security", "Sicherheit";
    SECURITY_NOTE: "Codes, and what happens to your account. The mails always come: whoever got into it could \
                    keep you from hearing of it.",
        "Codes, und was mit Ihrem Konto geschieht. Die E-Mails kommen immer: Wer hineingekommen wäre, könnte sonst \
         verhindern, dass Sie es erfahren.";
    ACCOUNT: "Account", "Konto";
    ACCOUNT_NOTE: "About your account, and nothing to worry about.",
        "Zu Ihrem Konto, und nichts Beunruhigendes.";
    PRODUCT: "News and offers", "Neues und Angebote";
    PRODUCT_NOTE: "What the services behind this account have to say.",
        "Was die Dienste hinter diesem Konto zu sagen haben.";
    ALWAYS: "always", "immer";
    SAVE: "Save", "Speichern";
    SAVED: "Saved.", "Gespeichert.";
    CHANGED: "This was changed elsewhere in the meantime, so nothing was saved. Here is how it is now.",
        "Das wurde inzwischen anderswo geändert, daher wurde nichts gespeichert. So ist es jetzt.";
}
