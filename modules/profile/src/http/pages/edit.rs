//! `/account/profile`: what one tells of oneself.

use std::collections::BTreeMap;

use askama::Template;
use axum::{extract::State as Shared, http::StatusCode, response::Response};
use kernel::{
    Form, Fragment, Language, Problem, Query, Text, UserId,
    etag::Condition,
    form::{Wrong, see_other},
    principal::CurrentUser,
};
use serde::Deserialize;

use super::texts;
use crate::{
    State,
    domain::{Audience, Bio, DisplayName, Field, Link, Profile, TimeZone, Visible},
    http::{
        etag,
        get_me::{find_or_wait, no_profile},
        patch_me::{LinkRequest, PatchError, PatchRequest, patch},
    },
};

pub(super) const PATH: &str = "/account/profile";

/// Empty rows for links that may be added.
const SPARE_LINKS: usize = 2;

/// Those that mails are written in, in the ways that they are spoken.
const LANGUAGES: [(&str, &str); 5] = [
    ("en", "English"),
    ("en-GB", "English (United Kingdom)"),
    ("de", "Deutsch"),
    ("de-AT", "Deutsch (Österreich)"),
    ("de-CH", "Deutsch (Schweiz)"),
];

#[derive(Template)]
#[template(path = "edit.html")]
pub(super) struct Page {
    l: Language,
    user_id: UserId,
    /// The picture's address, if there is one.
    picture: Option<String>,
    pub(super) wrong_picture: Option<Text>,
    pub(super) status: StatusCode,
    /// Of the version that is edited.
    version: String,
    fields: Fields,
    /// Is there something that the product keeps?
    has_attributes: bool,
    /// What became of the profile while it was edited.
    meanwhile: Option<Fields>,
    done: Option<Done>,
    wrong: Wrong,
}

/// What was just done.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Done {
    Saved,
    Picture,
    Removed,
}

#[derive(Deserialize)]
pub(super) struct Params {
    done: Option<Done>,
}

/// The fields of the form, as they were typed.
#[derive(Clone, PartialEq)]
struct Fields {
    display_name: String,
    bio: String,
    locale: String,
    time_zone: String,
    links: Vec<Link>,
    visible: Visible,
}

impl From<&Profile> for Fields {
    fn from(profile: &Profile) -> Self {
        Self {
            display_name: profile.display_name.clone().unwrap_or_default(),
            bio: profile.bio.clone().unwrap_or_default(),
            locale: profile.locale.clone(),
            time_zone: profile.time_zone.clone(),
            links: profile.links.clone(),
            visible: profile.visible.clone(),
        }
    }
}

impl Fields {
    /// From the names and values of a form; names that are not known say nothing.
    fn read(pairs: Vec<(String, String)>) -> (Self, String) {
        let mut fields = Self {
            display_name: String::new(),
            bio: String::new(),
            locale: String::new(),
            time_zone: String::new(),
            links: Vec::new(),
            visible: Visible::from_names(&[]),
        };
        let (mut version, mut label) = (String::new(), String::new());
        for (name, value) in pairs {
            match name.as_str() {
                "version" => version = value,
                "display_name" => fields.display_name = value,
                // As browsers send lines.
                "bio" => fields.bio = value.replace("\r\n", "\n"),
                "locale" => fields.locale = value,
                "time_zone" => fields.time_zone = value,
                "label" => label = value,
                "url" => fields.links.push(Link {
                    label: std::mem::take(&mut label),
                    url: value,
                }),
                "visible" => {
                    if let Some(field) = Field::ALL.iter().find(|field| field.name() == value) {
                        fields.visible.set(*field, Audience::Members);
                    }
                }
                _ => {}
            }
        }
        let blank = |link: &Link| link.label.trim().is_empty() && link.url.trim().is_empty();
        fields.links.retain(|link| !blank(link));
        (fields, version)
    }

    /// The edit that an API's client would send.
    fn to_request(&self) -> PatchRequest {
        let clearable = |text: &str| Some(Some(text.to_owned()).filter(|t| !t.trim().is_empty()));
        let links = self.links.iter().map(|link| LinkRequest {
            label: link.label.clone(),
            url: link.url.clone(),
        });
        let audience = |field| (field, Some(self.visible.audience(field)));
        PatchRequest {
            display_name: clearable(&self.display_name),
            bio: clearable(&self.bio),
            locale: Some(Some(self.locale.clone())),
            time_zone: Some(Some(self.time_zone.clone())),
            links: Some(Some(links.collect())),
            attributes: None,
            visibility: Some(Some(BTreeMap::from(Field::ALL.map(audience)))),
        }
    }
}

/// A link to be edited, and what its fields are called where something is wrong with them.
struct Row {
    label_field: String,
    url_field: String,
    link: Link,
}

impl Page {
    pub(super) fn answer(self) -> Response {
        let title = texts::PROFILE.of(&self.l);
        Fragment::with_status(self.status, title, self.l, &self)
    }

    /// Links, and room for some more.
    fn rows(&self) -> Vec<Row> {
        let links = self.fields.links.iter().cloned();
        let empty = Link {
            label: String::new(),
            url: String::new(),
        };
        let count = (links.len() + SPARE_LINKS).min(Link::MAX_LINKS.max(links.len()));
        let links = links.chain(std::iter::repeat(empty)).take(count);
        let row = |(at, link)| Row {
            label_field: format!("links/{at}/label"),
            url_field: format!("links/{at}/url"),
            link,
        };
        links.enumerate().map(row).collect()
    }

    /// Ours, and the one that is chosen.
    fn languages(&self) -> Vec<(String, String)> {
        let mut languages: Vec<_> = LANGUAGES
            .iter()
            .map(|(tag, name)| ((*tag).to_owned(), (*name).to_owned()))
            .collect();
        let chosen = &self.fields.locale;
        if !chosen.is_empty() && !languages.iter().any(|(tag, _)| tag == chosen) {
            languages.push((chosen.clone(), chosen.clone()));
        }
        languages
    }

    /// By region, and the one that is chosen.
    fn zones(&self) -> BTreeMap<String, Vec<String>> {
        let mut zones: Vec<_> = TimeZone::places().map(str::to_owned).collect();
        if !self.fields.time_zone.is_empty() {
            zones.push(self.fields.time_zone.clone());
        }
        zones.sort();
        zones.dedup();
        let mut regions = BTreeMap::<_, Vec<_>>::new();
        for zone in zones {
            let region = zone.split_once('/').map_or("UTC", |(region, _)| region);
            regions.entry(region.to_owned()).or_default().push(zone);
        }
        regions
    }

    /// What others can be shown or not.
    fn choices(&self) -> Vec<(Field, Text)> {
        let mut choices = vec![
            (Field::Avatar, texts::PICTURE),
            (Field::Bio, texts::BIO),
            (Field::Links, texts::LINKS),
            (Field::Locale, texts::LANGUAGE),
            (Field::TimeZone, texts::TIME_ZONE),
        ];
        if self.has_attributes {
            choices.push((Field::Attributes, texts::ATTRIBUTES));
        }
        choices
    }

    fn is_visible(&self, field: &Field) -> bool {
        self.fields.visible.contains(*field)
    }

    /// What a field is by now, if that is another thing than what was typed.
    fn now(&self, field: &str) -> Option<String> {
        let (typed, now) = (&self.fields, self.meanwhile.as_ref()?);
        let text = |typed: &String, now: &String| (typed != now).then(|| now.clone());
        let now = match field {
            "display_name" => text(&typed.display_name, &now.display_name),
            "bio" => text(&typed.bio, &now.bio),
            "locale" => text(&typed.locale, &now.locale),
            "time_zone" => text(&typed.time_zone, &now.time_zone),
            "links" => (typed.links != now.links).then(|| {
                let lines = now.links.iter();
                let lines = lines.map(|link| format!("{} {}", link.label, link.url));
                lines.collect::<Vec<_>>().join("\n")
            }),
            "visible" => (typed.visible != now.visible).then(|| {
                let choices = self.choices().into_iter();
                let shown = choices.filter(|(field, _)| now.visible.contains(*field));
                let shown = shown.map(|(_, text)| text.of(&self.l));
                shown.collect::<Vec<_>>().join(", ")
            }),
            _ => None,
        }?;
        let nothing = || texts::NOTHING.of(&self.l).to_owned();
        Some(if now.is_empty() { nothing() } else { now })
    }
}

fn version(profile: &Profile) -> String {
    let tag = etag::of_profile(profile);
    tag.to_str().expect("hex digits and quotes").to_owned()
}

/// The page as the profile is.
pub(super) async fn present(
    state: &State,
    l: Language,
    caller: CurrentUser,
) -> Result<Page, Problem> {
    let profile = find_or_wait(state, caller).await?.ok_or_else(no_profile)?;
    Ok(Page {
        l,
        user_id: profile.user_id,
        picture: state.avatar_path(&profile),
        wrong_picture: None,
        status: StatusCode::OK,
        version: version(&profile),
        fields: Fields::from(&profile),
        has_attributes: !profile.attributes.members().is_empty(),
        meanwhile: None,
        done: None,
        wrong: Wrong::default(),
    })
}

#[tracing::instrument(name = "profile.page.edit", skip_all, fields(user.id = %caller.id))]
pub(super) async fn page(
    Shared(state): Shared<State>,
    language: Language,
    caller: CurrentUser,
    Query(params): Query<Params>,
) -> Result<Response, Problem> {
    let page = Page {
        done: params.done,
        ..present(&state, language, caller).await?
    };
    Ok(page.answer())
}

#[tracing::instrument(name = "profile.page.save", skip_all, fields(user.id = %caller.id))]
pub(super) async fn submit(
    Shared(state): Shared<State>,
    language: Language,
    caller: CurrentUser,
    Form(pairs): Form<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let (typed, read) = Fields::read(pairs);
    let condition = Condition::Tags(vec![read.clone()]);
    let wrong = match patch(&state, caller.id, &condition, typed.to_request()).await {
        Ok(_) => return Ok(see_other("/account/profile?done=saved")),
        Err(PatchError::Invalid(fields)) => Wrong::fields(fields, sentence),
        Err(PatchError::Stale) => Wrong::whole(StatusCode::CONFLICT, texts::CHANGED),
        Err(error) => return Err(error.into()),
    };
    let present = present(&state, language, caller).await?;
    let is_stale = wrong.status == StatusCode::CONFLICT;
    let page = Page {
        status: wrong.status,
        wrong,
        meanwhile: is_stale.then_some(present.fields),
        // Who has seen both may choose; who has not, not yet.
        version: if is_stale { present.version } else { read },
        fields: typed,
        ..present
    };
    Ok(page.answer())
}

/// What the rules say of a field, as a sentence.
fn sentence(message: &str) -> Option<Text> {
    const fn text(en: &'static str, de: &'static str) -> Option<Text> {
        Some(Text::new(en, de))
    }
    match message {
        "must have at most 2000 characters" => text(
            "It has more than 2000 characters.",
            "Es sind mehr als 2000 Zeichen.",
        ),
        "must be plain text" => text(
            "It holds characters that cannot be shown.",
            "Es enthält Zeichen, die sich nicht anzeigen lassen.",
        ),
        "must have at most 50 characters" => text(
            "It has more than 50 characters.",
            "Es sind mehr als 50 Zeichen.",
        ),
        "must have at most 500 bytes" => text("It is too long.", "Sie ist zu lang."),
        "must be at most 10" => text("At most 10.", "Höchstens 10."),
        "must not hold a user name or password" => text(
            "It must not hold a user name or password.",
            "Sie darf weder Benutzername noch Passwort enthalten.",
        ),
        "must be mailto: with one address and nothing else" => text(
            "A mail address is written mailto:ada@example.org, with nothing after it.",
            "Eine E-Mail-Adresse wird mailto:ada@example.org geschrieben, ohne etwas dahinter.",
        ),
        "must be a URL without white space"
        | "must be a URL such as https://example.org"
        | "must begin with https://, http:// or mailto:" => text(
            "An address looks like https://example.org.",
            "Eine Adresse sieht aus wie https://example.org.",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use kernel::form::of_person;

    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let pairs = pairs.iter();
        pairs
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn a_form_is_read_by_its_names() {
        let (fields, version) = Fields::read(pairs(&[
            ("version", "\"a.1\""),
            ("display_name", "Ada"),
            ("bio", "a\r\nb"),
            ("label", "Blog"),
            ("url", "https://e.org"),
            ("label", " "),
            ("url", ""),
            ("visible", "bio"),
            ("visible", "shoe_size"),
            ("shoe_size", "38"),
        ]));
        assert_eq!(version, "\"a.1\"");
        assert_eq!((&*fields.display_name, &*fields.bio), ("Ada", "a\nb"));
        assert_eq!(fields.links.len(), 1);
        assert_eq!(fields.visible.names(), ["bio"]);
        let request = fields.to_request();
        assert_eq!(request.links.unwrap().unwrap()[0].label, "Blog");
        assert!(request.attributes.is_none(), "what is not shown stays");
    }

    #[test]
    fn every_rule_speaks_each_language() {
        let long = "x".repeat(3_000);
        let mut messages = vec![
            Bio::parse(&long).unwrap_err(),
            Bio::parse("\u{7}").unwrap_err(),
        ];
        for text in [
            "",
            "x",
            "a b",
            "javascript:x",
            "https://a@b",
            "mailto:a",
            &long,
        ] {
            messages.extend(Link::parse("x", text).err().map(|(_, message)| message));
            messages.extend(Link::parse(text, "https://e.org").err().map(|(_, m)| m));
        }
        for message in messages {
            assert!(
                sentence(message).or_else(|| of_person(message)).is_some(),
                "{message}"
            );
        }
    }
}
