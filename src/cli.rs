//! The command line: the host's verbs, and those that modules add.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::{Context, bail};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use kernel::{World, telemetry::LogBuffer};
use toml::Value;

use crate::{
    app::App,
    config::{self, At, Config, Sources},
    events::{self, EventsVerb},
    gateway,
    module_move::{self, MoveArguments},
    modules::MODULES,
    serve, telemetry,
    work::Roles,
};

/// The backend a product needs before its first feature: accounts, profiles, notifications, logs
/// and audit in one program.
#[derive(Debug, Parser)]
#[command(name = "banyan", version, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Args)]
struct Options {
    /// A TOML file whose keys win over the defaults; for commands that are about one module, a folder
    /// with a file for each, such as config/split.
    #[arg(long, global = true, value_name = "FILE", env = "BANYAN_CONFIG")]
    config: Option<PathBuf>,
    /// Where the embedded database and made secrets are kept [server.data_dir].
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl Options {
    /// The same, with the file of the process that hosts the module.
    fn about(&self, module: Option<&str>) -> Self {
        let folder = self.config.as_ref().filter(|path| path.is_dir());
        let file = folder
            .zip(module)
            .map(|(folder, module)| folder.join(format!("{module}.toml")));
        Self {
            config: file.or_else(|| self.config.clone()),
            data_dir: self.data_dir.clone(),
        }
    }
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serves until it is told to stop.
    Serve {
        /// Address and port [server.listen].
        #[arg(long, value_name = "ADDR")]
        listen: Option<SocketAddr>,
        /// Modules to host, separated by commas, or "none" to be a gateway alone; those whose
        /// [modules.<name>] at is "local" unless told.
        #[arg(long, value_name = "NAMES", value_delimiter = ',')]
        modules: Option<Vec<String>>,
        /// What this process does.
        #[arg(long, value_enum, default_value = "all")]
        roles: Roles,
    },
    /// Brings every module's schema up to date, as `serve` does at its start.
    Migrate,
    /// Checks and shows the configuration.
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Creates the modules' roles and schemas in a PostgreSQL of your own.
    #[command(subcommand)]
    Database(DatabaseVerb),
    /// Shows where modules are, and moves one with its data to another database.
    #[command(subcommand)]
    Module(ModuleVerb),
    /// Looks after events: lag, parked ones, replay and restate.
    #[command(subcommand)]
    Events(events::EventsVerb),
    /// Prints the OpenAPI document.
    Openapi,
}

#[derive(Debug, Subcommand)]
enum ConfigVerb {
    /// Checks every key without starting anything.
    Check,
    /// Prints the merged configuration, secrets as fingerprints.
    Show {
        /// Every key with its default and its unit instead.
        #[arg(long)]
        defaults: bool,
    },
}

#[derive(Debug, Subcommand)]
enum ModuleVerb {
    /// Each module: where it runs, its database, and its size.
    List,
    /// Copies a module's data to another PostgreSQL database and has it serve from there. The module
    /// is down meanwhile, the others go on. May be interrupted and given again.
    Move(MoveArguments),
}

#[derive(Debug, Subcommand)]
enum DatabaseVerb {
    /// Creates or updates roles and schemas; nothing else needs an administrator.
    Prepare {
        /// postgres:// URL of a role that may create roles, at the database to prepare.
        #[arg(
            long,
            value_name = "URL",
            env = "BANYAN_ADMIN_URL",
            hide_env_values = true
        )]
        admin_url: Option<String>,
        /// Prints the SQL instead, for psql; passwords are in it only as SCRAM verifiers.
        #[arg(long, conflicts_with = "admin_url")]
        print: bool,
    },
}

/// Runs the program.
pub fn run() -> anyhow::Result<()> {
    let mut command = Cli::command();
    let module_verbs: Vec<_> = MODULES
        .iter()
        .flat_map(|module| module.verbs().into_iter().map(move |verb| (*module, verb)))
        .collect();
    for (_, verb) in &module_verbs {
        command = command.subcommand(verb.command.clone());
    }
    let matches = command.get_matches();
    let (name, arguments) = matches.subcommand().expect("clap requires a verb");
    let options = Options::from_arg_matches(arguments)?;
    if name != "serve" {
        // As other commands: what is piped into `head` ends with it.
        sigpipe::reset();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;

    if let Some((module, verb)) = module_verbs
        .iter()
        .find(|(_, v)| v.command.get_name() == name)
    {
        let config = load(&options.about(Some(module.name())), Vec::new(), None)?;
        return runtime.block_on(async {
            must_host(&config, module.name())?;
            let app = open(config, Create::No).await?;
            app.migrate(*module).await?;
            let context = app.context(*module);
            let result = events::operator(&app)
                .scope(verb.run.run(context, arguments))
                .await;
            app.places.close().await?;
            result
        });
    }
    let cli = Cli::from_arg_matches(&matches)?;
    match cli.verb {
        Verb::Serve {
            listen,
            modules,
            roles,
        } => {
            let mut flags = Vec::new();
            if let Some(listen) = listen {
                flags.push((
                    "server.listen".to_owned(),
                    Value::String(listen.to_string()),
                ));
            }
            let config = load(&options, flags, modules)?;
            runtime.block_on(serve::serve(config, roles))
        }
        Verb::Migrate => {
            let config = load(&options, Vec::new(), None)?;
            runtime.block_on(async {
                let app = open(config, Create::Yes).await?;
                for slot in app.slots() {
                    app.migrate(slot.module).await?;
                    println!("{} is up to date", slot.name());
                }
                app.places.close().await
            })
        }
        Verb::Config(ConfigVerb::Check) => {
            let config = load(&options, Vec::new(), None)?;
            println!("the configuration is good");
            println!("environment: {}", config.stage_name());
            for module in MODULES {
                println!("{}: {}", module.name(), whereabouts(&config, module.name()));
            }
            for warning in config.warnings() {
                println!("warning: {warning}");
            }
            Ok(())
        }
        Verb::Config(ConfigVerb::Show { defaults: true }) => {
            print!("{}", config::default_document(MODULES));
            Ok(())
        }
        Verb::Config(ConfigVerb::Show { defaults: false }) => {
            print!("{}", load(&options, Vec::new(), None)?.show());
            Ok(())
        }
        Verb::Database(DatabaseVerb::Prepare { admin_url, print }) => {
            let config = load(&options, Vec::new(), None)?;
            runtime.block_on(prepare(&config, admin_url.as_deref(), print))
        }
        Verb::Module(verb) => {
            let module = match &verb {
                ModuleVerb::List => None,
                ModuleVerb::Move(arguments) => Some(arguments.module()),
            };
            let config = load(&options.about(module), Vec::new(), None)?;
            runtime.block_on(async {
                let app = open(config, Create::No).await?;
                let result = match &verb {
                    ModuleVerb::List => module_move::list(&app).await,
                    ModuleVerb::Move(arguments) => module_move::run(&app, arguments).await,
                };
                app.places.close().await?;
                result
            })
        }
        Verb::Events(EventsVerb::Catalogue) => {
            events::catalogue();
            Ok(())
        }
        Verb::Events(EventsVerb::Live(verb)) => {
            let config = load(&options.about(verb.module()), Vec::new(), None)?;
            runtime.block_on(async {
                let app = Arc::new(open(config, Create::No).await?);
                let result = events::run(&app, verb).await;
                if let Ok(app) = Arc::try_unwrap(app) {
                    app.places.close().await?;
                }
                result
            })
        }
        Verb::Openapi => {
            println!("{}", gateway::openapi::document().to_pretty_json()?);
            Ok(())
        }
    }
}

fn load(
    options: &Options,
    mut flags: Vec<(String, Value)>,
    modules: Option<Vec<String>>,
) -> anyhow::Result<Config> {
    if let Some(data_dir) = &options.data_dir {
        let data_dir = data_dir.to_str().context("--data-dir is not valid UTF-8")?;
        flags.push((
            "server.data_dir".to_owned(),
            Value::String(data_dir.to_owned()),
        ));
    }
    let sources = Sources {
        file: options.config.clone(),
        environment: std::env::var("BANYAN_ENV").ok(),
        flags,
        modules,
        variables: std::env::vars().collect(),
    };
    Config::load(MODULES, &sources)
}

/// Where a module and its data are, without the passwords of databases.
fn whereabouts(config: &Config, module: &str) -> String {
    let place = config.place(module);
    match &place.at {
        At::Local if !place.database_url.expose().is_empty() => {
            format!("here, on modules.{module}.database_url")
        }
        At::Local if config.host.database.embedded() => {
            let folder = config.host.server.data_dir.display();
            format!("here, on an embedded database in {folder}")
        }
        At::Local => "here, on database.url".to_owned(),
        At::Remote(settings) => {
            let at: Vec<_> = settings.at.iter().map(url::Url::as_str).collect();
            format!("at {}", at.join(", "))
        }
        At::Elsewhere => "elsewhere".to_owned(),
    }
}

/// A verb works where the module's data are.
pub fn must_host(config: &Config, module: &str) -> anyhow::Result<()> {
    if !config.hosts(module) {
        bail!(
            "{module} is hosted by another process: give this command that one's configuration \
             (--config)"
        );
    }
    Ok(())
}

/// May the verb make an installation where there is none?
#[derive(PartialEq, Eq)]
enum Create {
    Yes,
    No,
}

/// For verbs: everything that modules share, with the embedded database running.
async fn open(config: Config, create: Create) -> anyhow::Result<App> {
    telemetry::start_quiet();
    let data_dir = &config.host.server.data_dir;
    // One of the two: secrets may be given by configuration, and the database's user may have had to
    // keep it elsewhere.
    let there = |folder: &str| data_dir.join(folder).try_exists();
    let made = there("secrets").and_then(|made| Ok(made || there("postgres")?));
    let made = made.with_context(|| format!("{} may not be looked into", data_dir.display()))?;
    if config.host.database.embedded() && create == Create::No && !made {
        bail!(
            "there is no installation in {}: name its folder with --data-dir, or its database with \
             database.url (`banyan serve` or `banyan migrate` makes one)",
            std::path::absolute(data_dir)?.display()
        );
    }
    App::open(config, World::system(), Arc::new(LogBuffer::new(1_000))).await
}

async fn prepare(config: &Config, admin_url: Option<&str>, print: bool) -> anyhow::Result<()> {
    use std::str::FromStr;
    let secret = config.host.database.role_secret.expose();
    if secret.len() < 32 {
        bail!(
            "database.role_secret must have at least 32 characters: the roles' passwords are \
             derived from it. `openssl rand -base64 32` makes one"
        );
    }
    let names = MODULES.iter().map(|m| m.name());
    let modules: Vec<_> = names.filter(|name| config.hosts(name)).collect();
    let options = |url: &str| {
        sqlx::postgres::PgConnectOptions::from_str(url)
            .map_err(|_| anyhow::anyhow!("--admin-url is no postgres://user@host:port/database"))
    };
    let target = admin_url.unwrap_or_else(|| config.host.database.url.expose());
    let database = match target {
        "" => "banyan".to_owned(),
        url => options(url)?.get_database().unwrap_or("banyan").to_owned(),
    };
    if print {
        print!(
            "{}",
            database::prepare_script(&database, &modules, secret.as_bytes())?
        );
        return Ok(());
    }
    let Some(admin_url) = admin_url else {
        bail!("--admin-url is needed: a role that may create roles. Or --print the SQL");
    };
    database::prepare(&options(admin_url)?, &database, &modules, secret.as_bytes()).await?;
    println!("{database} is prepared for {}", modules.join(", "));
    Ok(())
}
