//! What the pages say.

use kernel::Text;

macro_rules! texts {
    ($($name:ident: $en:literal, $de:literal;)*) => {
        $(pub(crate) const $name: Text = Text::new($en, $de);)*
    };
}

texts! {
    EMAIL: "Email address", "E-Mail-Adresse";
    PASSWORD: "Password", "Passwort";
    SHOW: "Show", "Anzeigen";
    NAME: "Name", "Name";
    OPTIONAL: "(optional)", "(freiwillig)";
    CODE: "Code", "Code";
    CODE_NOTE: "Six digits, from the mail.", "Sechs Ziffern, aus der E-Mail.";
    CONTINUE: "Continue", "Weiter";
    CANCEL: "Cancel", "Abbrechen";
    LOOK_AGAIN: "Some fields need another look. Passwords and codes have to be typed again.",
        "Einige Felder brauchen noch einen Blick. Passwörter und Codes müssen neu eingegeben werden.";
    BUSY: "Too many people are signing in just now. Try again in a moment.",
        "Gerade melden sich zu viele gleichzeitig an. Versuchen Sie es gleich noch einmal.";

    SIGN_IN: "Sign in", "Anmelden";
    OR: "or", "oder";
    SIGN_IN_BY_MAIL: "Sign in with a code by mail", "Mit einem Code per E-Mail anmelden";
    FORGOT_LINK: "Forgot the password?", "Passwort vergessen?";
    NO_ACCOUNT: "No account yet?", "Noch kein Konto?";
    HAVE_ACCOUNT: "You have an account?", "Sie haben schon ein Konto?";
    WRONG_CREDENTIALS: "Address or password is wrong.", "Adresse oder Passwort ist falsch.";
    TOO_MANY: "Too many wrong tries. Wait a little, or sign in with a code by mail.",
        "Zu viele falsche Versuche. Warten Sie ein wenig, oder melden Sie sich mit einem Code per \
         E-Mail an.";
    SUSPENDED: "This account is suspended. Ask whoever looks after this installation.",
        "Dieses Konto ist gesperrt. Fragen Sie, wer sich um diese Installation kümmert.";

    CODE_TITLE: "Sign in by mail", "Per E-Mail anmelden";
    CODE_LEAD: "We mail you a code that is good for some minutes.",
        "Wir schicken Ihnen einen Code, der einige Minuten gilt.";
    SEND_CODE: "Send the code", "Code schicken";
    CHECK_MAIL: "Look at your mail", "Sehen Sie in Ihre E-Mail";
    CODE_SENT: "If the address has an account, a code is on its way to it. It can take a minute; look \
                into the junk folder, too.",
        "Wenn es ein Konto zu der Adresse gibt, ist ein Code unterwegs. Das kann eine Minute dauern; \
         sehen Sie auch im Spam-Ordner nach.";
    WRONG_CODE: "The code is wrong, expired or used, or was tried too often.",
        "Der Code ist falsch, abgelaufen oder verbraucht, oder wurde zu oft versucht.";
    ANOTHER_CODE: "Send another code", "Noch einen Code schicken";
    CONFIRM_SIGN_IN: "Sign in on this device?", "Auf diesem Gerät anmelden?";
    CONFIRM_SIGN_IN_LEAD: "The code from the mail is filled in. Go on only if you asked for it yourself.",
        "Der Code aus der E-Mail ist eingetragen. Machen Sie nur weiter, wenn Sie selbst danach gefragt \
         haben.";

    SIGN_UP: "Create an account", "Konto anlegen";
    SIGN_UP_LEAD: "We mail you a code to see that the address is yours.",
        "Wir schicken Ihnen einen Code, um zu sehen, dass die Adresse Ihre ist.";
    NEW_PASSWORD_NOTE: "At least 8 characters, and not one of the common ones. Length is what counts.",
        "Mindestens 8 Zeichen, und keines der üblichen. Auf die Länge kommt es an.";
    SIGN_UP_PASSWORD_NOTE: "At least 8 characters, and not one of the common ones. Leave it empty to sign in \
                            with codes by mail.",
        "Mindestens 8 Zeichen, und keines der üblichen. Leer lassen, um sich mit Codes per E-Mail \
         anzumelden.";
    REGISTRATION_CLOSED: "Nobody can register here", "Hier kann man sich nicht registrieren";
    REGISTRATION_CLOSED_LEAD: "Ask whoever looks after this installation for an account.",
        "Fragen Sie nach einem Konto, wer sich um diese Installation kümmert.";
    PROVE_TITLE: "Prove your address", "Adresse bestätigen";
    PROVE_LEAD: "Type the code that we have mailed to you. It can take a minute; look into the junk \
                 folder, too.",
        "Geben Sie den Code ein, den wir Ihnen geschickt haben. Das kann eine Minute dauern; sehen Sie \
         auch im Spam-Ordner nach.";
    PROVE_ELSEWHERE: "This browser did not begin the registration, so choose a password of your own. The one \
                      that was typed there will not be used.",
        "Dieser Browser hat die Registrierung nicht begonnen, wählen Sie daher ein eigenes Passwort. Das \
         dort eingegebene gilt dann nicht.";
    CREATE: "Create the account", "Konto anlegen";
    EMAIL_TAKEN: "The address was registered in the meantime. Sign in instead.",
        "Die Adresse wurde inzwischen registriert. Melden Sie sich an.";

    FORGOT_TITLE: "Set a new password", "Neues Passwort setzen";
    FORGOT_LEAD: "We mail you a code to set it with. Until then nothing changes.",
        "Wir schicken Ihnen einen Code dafür. Bis dahin ändert sich nichts.";
    NEW_PASSWORD: "New password", "Neues Passwort";
    SET_PASSWORD: "Set the password and sign in", "Passwort setzen und anmelden";
    RESET_NOTE: "You are signed out everywhere else.", "Sie werden überall sonst abgemeldet.";

    ACCOUNT: "Account", "Konto";
    ADDRESS: "Address", "Adresse";
    SINCE: "Account since", "Konto seit";
    ROLES: "Roles", "Rollen";
    SECURITY: "Sign-in", "Anmeldung";
    SESSIONS: "Where you are signed in", "Wo Sie angemeldet sind";
    SESSIONS_NAV: "Sessions", "Sitzungen";
    SESSIONS_LEAD: "If one of them is not yours, sign it out and change the password.",
        "Wenn eine davon nicht Ihre ist, melden Sie sie ab und ändern Sie das Passwort.";
    THIS_DEVICE: "This one", "Diese";
    UNKNOWN_DEVICE: "Unknown device", "Unbekanntes Gerät";
    SIGNED_IN_AT: "Signed in", "Angemeldet";
    LAST_USED: "last used", "zuletzt benutzt";
    FROM: "from", "von";
    SIGN_OUT: "Sign out", "Abmelden";
    SIGN_OUT_OTHERS: "Sign out everywhere else", "Überall sonst abmelden";
    SIGNED_OUT_THERE: "Signed out there.", "Dort abgemeldet.";
    SIGNED_OUT_OTHERS: "Signed out everywhere else.", "Überall sonst abgemeldet.";
    CHANGE_PASSWORD: "Change the password", "Passwort ändern";
    CURRENT_PASSWORD: "Current password", "Bisheriges Passwort";
    CURRENT_WRONG: "This is not the current password.", "Das ist nicht das bisherige Passwort.";
    PASSWORD_CHANGED: "The password is changed. You are signed out everywhere else.",
        "Das Passwort ist geändert. Überall sonst sind Sie abgemeldet.";
    NO_PASSWORD_YET: "This account has no password: codes by mail sign in.",
        "Dieses Konto hat kein Passwort: Sie melden sich mit Codes per E-Mail an.";
    SET_ONE: "Set one", "Eines setzen";
}
