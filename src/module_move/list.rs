//! `banyan module list`.

use bus::place::State;

use super::{
    end::{End, place_name},
    report::bytes,
};
use crate::{app::App, config::At, modules::MODULES};

/// Prints each module: where it runs as this process sees it, its database, its state and its size.
pub async fn list(app: &App) -> anyhow::Result<()> {
    let line = |columns: [&str; 5]| {
        let [module, runs, state, size, database] = columns;
        println!("{module:<14} {runs:<28} {state:<10} {size:>10}  {database}");
    };
    line(["module", "runs", "state", "size", "database"]);
    for module in MODULES {
        let name = module.name();
        let runs = match &app.config.place(name).at {
            At::Local => {
                let database = place_name(&app.places.owner(name));
                let (state, size) = look(app, name).await;
                line([name, "here", &state, &size, &database]);
                continue;
            }
            At::Elsewhere => "elsewhere".to_owned(),
            At::Remote(settings) => {
                let urls: Vec<_> = settings.at.iter().map(ToString::to_string).collect();
                urls.join(", ")
            }
        };
        line([name, &runs, "-", "-", "-"]);
    }
    Ok(())
}

async fn look(app: &App, module: &'static str) -> (String, String) {
    let looked = async {
        let mut end = End::open(&app.places, module).await?;
        let state = match end.place().await? {
            None => "empty",
            Some(place) if place.state == State::Here && end.is_fenced().await? => "shut",
            Some(place) => place.state.name(),
        };
        anyhow::Ok((state.to_owned(), end.facts().await?.bytes))
    };
    match looked.await {
        Ok((state, size)) => (state, bytes(size.unsigned_abs())),
        Err(_) => ("unreachable".to_owned(), "-".to_owned()),
    }
}
