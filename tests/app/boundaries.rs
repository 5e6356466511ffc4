//! The border between modules, held three ways: by the crate graph, by database roles, and here.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use banyan::modules::MODULES;
use sqlx::ConnectOptions;

use crate::support::{TestApp, cluster};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn module_names() -> BTreeSet<String> {
    let entries = fs::read_dir(root().join("modules")).expect("modules/");
    entries
        .map(|e| {
            e.expect("an entry")
                .file_name()
                .into_string()
                .expect("UTF-8")
        })
        .collect()
}

#[test]
fn every_folder_in_modules_is_registered() {
    let registered: BTreeSet<_> = MODULES.iter().map(|m| m.name().to_owned()).collect();
    assert_eq!(registered, module_names());
}

/// Which of our own packages a package depends on, of the kinds that end up in the program.
fn forbidden(packages: &serde_json::Value, modules: &BTreeSet<String>) -> Vec<String> {
    let mut found = Vec::new();
    for package in packages.as_array().expect("packages") {
        let name = package["name"].as_str().expect("a name");
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let on = dependency["name"].as_str().expect("a name");
            let of_a_module = modules.contains(name);
            let foundation = ["kernel", "contracts", "bus"].contains(&name);
            let is_ours = dependency["path"].is_string();
            let dev = dependency["kind"] == "dev";
            if (of_a_module && is_ours && !dev && on != "kernel" && on != "contracts")
                || (of_a_module && modules.contains(on))
                || (foundation && modules.contains(on))
            {
                found.push(format!("{name} depends on {on}"));
            }
        }
    }
    found
}

#[test]
fn no_module_depends_on_another() {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(root())
        .output()
        .expect("cargo metadata runs");
    let mut metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let modules = module_names();
    assert_eq!(
        forbidden(&metadata["packages"], &modules),
        Vec::<String>::new()
    );

    // The check itself can fail: a module that imports another is found.
    let packages = metadata["packages"].as_array_mut().unwrap();
    let profile = packages
        .iter_mut()
        .find(|p| p["name"] == "profile")
        .unwrap();
    profile["dependencies"]
        .as_array_mut()
        .unwrap()
        .push(serde_json::json!({
            "name": "identity", "kind": null, "path": "modules/identity"
        }));
    let found = forbidden(&metadata["packages"], &modules);
    assert_eq!(found, ["profile depends on identity"]);
}

/// `schema.table` of other modules in a module's SQL.
fn foreign_sql(module: &str, text: &str, modules: &BTreeSet<String>) -> Vec<String> {
    let words = [
        "from",
        "join",
        "into",
        "update",
        "references",
        "table",
        "exists",
    ];
    let mut found = Vec::new();
    let mut previous = String::new();
    for word in text.split(|c: char| c.is_whitespace() || "(,;\"".contains(c)) {
        if word.is_empty() {
            continue;
        }
        if let Some((schema, table)) = word.split_once('.')
            && table.starts_with(|c: char| c.is_ascii_lowercase())
            && schema != module
            && modules.contains(schema)
            && words.contains(&&*previous)
        {
            found.push(word.to_owned());
        }
        previous = word.to_lowercase();
    }
    found
}

fn files_below(folder: &Path, into: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files_below(&path, into)
        } else {
            into.push(path)
        }
    }
}

#[test]
fn no_sql_leaves_its_schema() {
    let modules = module_names();
    for module in &modules {
        let mut files = Vec::new();
        files_below(&root().join("modules").join(module).join("src"), &mut files);
        files_below(&root().join("migrations").join(module), &mut files);
        assert!(
            files.len() > 1,
            "{module} has no files: the test looks in the wrong place"
        );
        for file in files {
            let text = fs::read_to_string(&file).expect("UTF-8");
            let found = foreign_sql(module, &text, &modules);
            assert_eq!(found, Vec::<String>::new(), "{}", file.display());
        }
    }
    let sql = "SELECT * FROM identity.users u JOIN profile.profiles p ON true";
    assert_eq!(foreign_sql("profile", sql, &modules), ["identity.users"]);
}

/// What a role of one module meets in another's schema, and in its own beyond its rights.
#[tokio::test]
async fn a_modules_role_reaches_nothing_outside() {
    let app = TestApp::start().await;
    let role = database::runtime_role("profile");
    let password = database::role_password(cluster::ROLE_SECRET.as_bytes(), &role);
    let mut conn = app
        .databases
        .of("profile")
        .username(&role)
        .password(&password)
        .connect()
        .await
        .unwrap();
    for statement in [
        "SELECT * FROM identity.users",
        "SELECT * FROM identity.outbox",
        "INSERT INTO notification.inbox VALUES ('a', 'b', 'c', 1)",
        "SELECT identity.erase_from_log('x')",
        "CREATE TABLE profile.more (id int)",
        "DROP TABLE profile.profiles",
        "CREATE SCHEMA more",
        "UPDATE profile.log SET data = '{}'",
        "DELETE FROM profile.log",
        "TRUNCATE profile.log",
        "DELETE FROM profile.log_from_1",
        "SET ROLE banyan_profile_owner",
    ] {
        let error = sqlx::query(statement)
            .execute(&mut conn)
            .await
            .expect_err(statement);
        let code = error
            .as_database_error()
            .and_then(|e| e.code().map(|c| c.into_owned()));
        // 42501: insufficient_privilege.
        assert_eq!(code.as_deref(), Some("42501"), "{statement}: {error}");
    }
    sqlx::query("SELECT * FROM profile.profiles")
        .execute(&mut conn)
        .await
        .unwrap();
}
