//! The pages of profiles, as their owners and others meet them.

use std::io::Write;

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use reqwest::Method;
use serde_json::json;

use super::walker::Walker;

const ME: &str = "/api/v1/profiles/me";
const SAVE: &str = "#profile .actions button";

/// Chooses a file, as a person would in the dialogue.
async fn choose(walker: &mut Walker, file: &tempfile::NamedTempFile) {
    let document = walker.browser.call("DOM.getDocument", json!({})).await;
    let root = &document["root"]["nodeId"];
    let params = json!({ "nodeId": root, "selector": "#file" });
    let found = walker.browser.call("DOM.querySelector", params).await;
    let params = json!({ "nodeId": found["nodeId"], "files": [file.path()] });
    walker.browser.call("DOM.setFileInputFiles", params).await;
}

fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(".png").tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn picture() -> Vec<u8> {
    let mut out = std::io::Cursor::new(Vec::new());
    let image = RgbImage::from_fn(600, 400, |x, y| Rgb([(x / 3) as u8, (y / 2) as u8, 120]));
    let image = DynamicImage::from(image);
    image.write_to(&mut out, ImageFormat::Png).unwrap();
    out.into_inner()
}

#[tokio::test]
async fn a_profile_is_edited_and_shown() {
    let mut walker = Walker::new().await;
    let ada = walker.app.sign_up("ada@example.com").await;
    walker.sign_in("ada@example.com").await;
    walker.open("/account/profile").await;
    walker.look("profile-new").await;

    // What is wrong is said by its field, and what was typed stays.
    walker.browser.fill("display_name", "Ada Lovelace").await;
    walker
        .browser
        .fill("bio", "Notes on the engine.\n<b>Not bold</b>")
        .await;
    walker.browser.fill("label", "Blog").await;
    walker.browser.fill("url", "javascript:alert(1)").await;
    walker.browser.press(SAVE).await;
    let text = walker.browser.text().await;
    assert!(text.contains("Nothing was saved yet") && text.contains("https://example.org."));
    walker.look("profile-wrong").await;
    let profile = walker.app.get(ME, &ada.access_token).await.json();
    assert!(profile["bio"].is_null());
    walker.browser.fill("url", "https://ada.example").await;
    walker
        .browser
        .run("document.querySelector('[value=bio]').click()")
        .await;
    walker.browser.press(SAVE).await;
    assert!(walker.browser.text().await.contains("Saved."));
    walker.look("profile-saved").await;
    let profile = walker.app.get(ME, &ada.access_token).await.json();
    assert_eq!(profile["display_name"], "Ada Lovelace");
    assert_eq!(profile["bio"], "Notes on the engine.\n<b>Not bold</b>");
    assert_eq!(profile["links"][0]["url"], "https://ada.example/");
    assert_eq!(profile["visibility"]["bio"], "members");
    assert_eq!(profile["visibility"]["links"], "private");

    // Changed elsewhere meanwhile: both are shown, and nothing is lost unseen.
    walker.browser.fill("display_name", "Ada King").await;
    let elsewhere = json!({ "display_name": "Countess", "time_zone": "Europe/London" });
    let token = Some(&*ada.access_token);
    let headers = [("if-match", "*")];
    let changed = walker
        .app
        .send(Method::PATCH, ME, token, Some(elsewhere), &headers)
        .await;
    changed.expect(200);
    walker.browser.press(SAVE).await;
    let text = walker.browser.text().await;
    assert!(text.contains("changed elsewhere") && text.contains("Now there is: Countess"));
    assert!(text.contains("Now there is: Europe/London"), "{text}");
    walker.look("profile-conflict").await;
    let profile = walker.app.get(ME, &ada.access_token).await.json();
    assert_eq!(profile["display_name"], "Countess");
    walker.browser.press(SAVE).await;
    assert!(walker.browser.text().await.contains("Saved."));
    let profile = walker.app.get(ME, &ada.access_token).await.json();
    assert_eq!(profile["display_name"], "Ada King");

    // The picture: seen before it is sent, refused when it is none.
    let no_picture = file(b"no picture");
    choose(&mut walker, &no_picture).await;
    walker.browser.press(".portrait form button").await;
    let text = walker.browser.text().await;
    assert!(text.contains("This is no PNG"), "{text:.2000}");
    let picture = file(&picture());
    choose(&mut walker, &picture).await;
    let seen = "new Promise(r => { const p = document.getElementById('picture'); \
                const look = () => p.src.startsWith('data:') ? r(!p.hidden) : setTimeout(look, 20); \
                look(); })";
    assert_eq!(walker.browser.run(seen).await, true);
    walker.browser.press(".portrait form button").await;
    assert!(walker.browser.text().await.contains("picture is saved"));
    walker.look("profile-picture").await;
    let shown = "(() => { const p = document.querySelector('.avatar'); \
                 return p.complete && p.naturalWidth })()";
    assert_eq!(walker.browser.run(shown).await, 512);

    // As others see it.
    walker.app.settle().await;
    let path = format!("/people/{}", ada.user_id);
    walker.app.sign_up("bob@example.com").await;
    walker.browser.press(".who form button").await;
    walker.open(&path).await;
    let text = walker.browser.path().await;
    assert!(text.starts_with("/sign-in?next=%2Fpeople"), "{text}");
    walker.sign_in("bob@example.com").await;
    walker.open(&path).await;
    let text = walker.browser.text().await;
    assert!(text.contains("Ada King") && text.contains("<b>Not bold</b>"));
    assert!(!text.contains("Blog") && !text.contains("Europe/London"));
    assert_eq!(walker.browser.run(shown).await, 512);
    walker.look("person").await;
    walker
        .open("/people/00000000-0000-7000-8000-000000000000")
        .await;
    assert!(walker.browser.text().await.contains("no such page"));
    walker.browser.press(".who form button").await;

    walker.sign_in("ada@example.com").await;
    walker.open("/account/profile").await;
    walker.browser.run("window.confirm = () => true").await;
    walker
        .browser
        .press(".portrait form[data-confirm] button")
        .await;
    assert!(walker.browser.text().await.contains("picture is removed"));
    let app = walker.done();
    let profile = app.get(ME, &ada.access_token).await.json();
    assert!(profile["avatar_url"].is_null());
    app.settle().await;
}

#[tokio::test]
async fn a_profile_needs_no_script_and_no_other_sites_help() {
    let mut walker = Walker::new().await;
    let ada = walker.app.sign_up("ada@example.com").await;
    walker.browser.scripts(false).await;
    walker.sign_in("ada@example.com").await;
    let headers = json!({ "headers": { "Accept-Language": "de" } });
    walker
        .browser
        .call("Network.setExtraHTTPHeaders", headers)
        .await;
    walker.open("/account/profile").await;
    walker.browser.fill("display_name", "Ada").await;
    walker.browser.press(SAVE).await;
    assert!(walker.browser.text().await.contains("Gespeichert."));
    let picture = file(&picture());
    choose(&mut walker, &picture).await;
    walker.browser.press(".portrait form button").await;
    assert!(
        walker
            .browser
            .text()
            .await
            .contains("Das Bild ist gespeichert")
    );
    let app = walker.done();
    for (path, form) in [
        ("/account/profile", "application/x-www-form-urlencoded"),
        (
            "/account/profile/picture",
            "multipart/form-data; boundary=b",
        ),
        (
            "/account/profile/picture/remove",
            "application/x-www-form-urlencoded",
        ),
    ] {
        let request = app
            .http
            .post(format!("{}{path}", app.url))
            .bearer_auth(&ada.access_token)
            .header("content-type", form)
            .header("sec-fetch-site", "cross-site")
            .body("");
        assert_eq!(request.send().await.unwrap().status(), 403, "{path}");
    }
    app.settle().await;
}
