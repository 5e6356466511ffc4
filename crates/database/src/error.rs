use sqlx::migrate::MigrateError;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "{0:?} cannot be a module's name: it is also the name of its schema, so it takes 1 to 31 lowercase \
         letters, digits and underscores, begins with a letter, does not begin with pg_ or end in _owner, \
         and is not public or information_schema"
    )]
    ModuleName(String),

    #[error("{0:?} cannot be a database's name: it takes 1 to 63 bytes")]
    DatabaseName(String),

    #[error("cannot reach the database {database} as the administrator: {source}")]
    Administrator {
        database: String,
        source: sqlx::Error,
    },

    #[error(
        "cannot create the database {database}: {source}; create it by hand, or as a role with CREATEDB"
    )]
    CreateDatabase {
        database: String,
        source: sqlx::Error,
    },

    #[error(
        "cannot prepare roles and schemas in the database {database}: {source}; the administrator's role \
         needs CREATEROLE, and CREATE on the database"
    )]
    Prepare {
        database: String,
        source: sqlx::Error,
    },

    #[error("cannot sign in to migrate {module}: {source}{}", hint(source))]
    SignIn { module: String, source: sqlx::Error },

    /// A move of the module to another database has begun or ended: not here, for now or for good.
    #[error("{}", place.reason(module))]
    Away {
        module: String,
        place: bus::place::Place,
    },

    #[error("cannot look up the migrations of {module}: {source}")]
    LookUp { module: String, source: sqlx::Error },

    #[error("migration {version} ({description}) of {module} failed: {source}")]
    Migration {
        module: String,
        /// Which remembers what was applied: `schema_migrations` or the bus's `bus_migrations`.
        table: &'static str,
        version: i64,
        description: String,
        source: sqlx::Error,
    },

    #[error(
        "migration {version} ({description}) of {module} was changed after it had been applied: undo the \
         change and put it into a new migration"
    )]
    Changed {
        module: String,
        version: i64,
        description: String,
    },

    #[error(
        "migration {version} of {module} was applied and is missing from this program although later ones \
         are here: bring its file back"
    )]
    Missing { module: String, version: i64 },

    #[error("cannot migrate {module}: {source}")]
    Migrate {
        module: String,
        source: MigrateError,
    },
}

/// A server that answers and refuses knows no such role, or another password.
fn hint(source: &sqlx::Error) -> &'static str {
    match source {
        sqlx::Error::Database(error) if error.code().is_some_and(|code| code.starts_with("28")) => {
            "; were its roles made (banyan database prepare)?"
        }
        _ => "",
    }
}
