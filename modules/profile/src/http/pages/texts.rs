//! What the pages say.

use kernel::Text;

macro_rules! texts {
    ($($name:ident: $en:literal, $de:literal;)*) => {
        $(pub(super) const $name: Text = Text::new($en, $de);)*
    };
}

texts! {
    PROFILE: "Profile", "Profil";
    SAVE: "Save", "Speichern";
    SAVED: "Saved.", "Gespeichert.";
    LOOK_AGAIN: "Nothing was saved yet: some fields need another look.",
        "Noch nichts gespeichert: Einige Felder brauchen noch einen Blick.";
    CHANGED: "The profile was changed elsewhere in the meantime, so nothing was saved yet. Where it differs from \
              what you typed, both stand here. Saving again keeps what you typed.",
        "Das Profil wurde inzwischen anderswo geändert, daher ist noch nichts gespeichert. Wo es von Ihrer Eingabe \
         abweicht, steht hier beides. Nochmals speichern behält Ihre Eingabe.";
    MEANWHILE: "Now there is:", "Jetzt steht dort:";
    NOTHING: "nothing", "nichts";

    PICTURE: "Picture", "Bild";
    CHOOSE_PICTURE: "Choose a picture", "Bild aussuchen";
    PICTURE_NOTE: "PNG, JPEG, WebP or GIF. It is made smaller, and what your camera noted in it is taken out.",
        "PNG, JPEG, WebP oder GIF. Es wird verkleinert, und was die Kamera darin vermerkt hat, entfernt.";
    UPLOAD: "Upload", "Hochladen";
    REMOVE: "Remove the picture", "Bild entfernen";
    REMOVE_ASK: "Remove the picture?", "Das Bild entfernen?";
    PICTURE_SAVED: "The picture is saved.", "Das Bild ist gespeichert.";
    PICTURE_REMOVED: "The picture is removed.", "Das Bild ist entfernt.";
    NO_FILE: "No picture was chosen.", "Es wurde kein Bild ausgesucht.";
    WRONG_FORMAT: "This is no PNG, JPEG, WebP or GIF.", "Das ist kein PNG, JPEG, WebP oder GIF.";
    TOO_MANY_PIXELS: "The picture has too many pixels. Choose a smaller one.",
        "Das Bild hat zu viele Pixel. Suchen Sie ein kleineres aus.";
    TOO_LARGE: "The picture has too many bytes. Choose a smaller one.",
        "Das Bild hat zu viele Bytes. Suchen Sie ein kleineres aus.";
    UNREADABLE: "The picture is incomplete or broken.", "Das Bild ist unvollständig oder beschädigt.";

    ABOUT: "About you", "Über Sie";
    NAME: "Name", "Name";
    NAME_NOTE: "Whoever is signed in sees it.", "Alle, die angemeldet sind, sehen ihn.";
    BIO: "A few words", "Ein paar Worte";
    LANGUAGE: "Language of mails", "Sprache der E-Mails";
    TIME_ZONE: "Time zone", "Zeitzone";
    THIS_ZONE: "Take that of this browser:", "Die dieses Browsers nehmen:";
    LINKS: "Links", "Links";
    LINKS_NOTE: "At most 10. Clear both fields to take one away; room for more comes with saving.",
        "Höchstens 10. Beide Felder leeren entfernt einen; Platz für weitere kommt mit dem Speichern.";
    LABEL: "What it is called", "Wie er heißt";
    ADDRESS: "Address", "Adresse";

    VISIBILITY: "What others see", "Was andere sehen";
    VISIBILITY_NOTE: "Whoever is signed in sees your name and what is ticked here.",
        "Alle, die angemeldet sind, sehen Ihren Namen und was hier angekreuzt ist.";
    AS_OTHERS: "Look at it as others do", "So ansehen wie andere";
    ATTRIBUTES: "What this product keeps of you", "Was dieses Produkt von Ihnen weiß";

    NAMELESS: "Somebody without a name", "Jemand ohne Namen";
    EDIT: "Edit", "Bearbeiten";
    SPEAKS: "Language", "Sprache";
    SHOWS_NO_MORE: "There is nothing more to see.", "Mehr ist nicht zu sehen.";
}
