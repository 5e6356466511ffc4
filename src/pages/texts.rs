//! What the shell says.

use kernel::Text;

pub const SKIP: Text = Text::new("Skip to the content", "Zum Inhalt");
pub const NAVIGATION: Text = Text::new("Pages", "Seiten");
pub const SIGN_IN: Text = Text::new("Sign in", "Anmelden");
pub const SIGN_OUT: Text = Text::new("Sign out", "Abmelden");
pub const ADMINISTRATION: Text = Text::new("Administration", "Verwaltung");
pub const MY_ACCOUNT: Text = Text::new("My account", "Mein Konto");
pub const OVERVIEW: Text = Text::new("Overview", "Überblick");
pub const BACK: Text = Text::new("Back", "Zurück");
pub const TRY_AGAIN: Text = Text::new("Try again", "Erneut versuchen");
pub const SIGNED_OUT: Text = Text::new("You are signed out", "Sie sind abgemeldet");
pub const SIGNED_OUT_DETAIL: Text = Text::new(
    "Your session ended in the meantime, so nothing was changed. Sign in and try again.",
    "Ihre Sitzung ist inzwischen zu Ende, daher wurde nichts geändert. Melden Sie sich an und \
     versuchen Sie es erneut.",
);
pub const NOT_FOUND: Text = Text::new("There is no such page", "Diese Seite gibt es nicht");
pub const NOT_FOUND_DETAIL: Text = Text::new(
    "It may have moved, or the link was cut short.",
    "Sie ist vielleicht umgezogen, oder der Link ist unvollständig.",
);
pub const FORBIDDEN: Text = Text::new("This page is not for you", "Diese Seite ist nicht für Sie");
pub const FORBIDDEN_DETAIL: Text = Text::new(
    "Only administrators see it. If you are one, sign in with that account.",
    "Nur die Verwaltung sieht sie. Wenn Sie dazugehören, melden Sie sich mit jenem Konto an.",
);
pub const UNAVAILABLE: Text = Text::new("Not available at the moment", "Zurzeit nicht erreichbar");
