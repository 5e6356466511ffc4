//! Which schema serves a module, when a move has made a second copy of it.
//!
//! A schema whose [`State`] is not `Here` has its runtime role's USAGE revoked: the database refuses
//! every statement of a process that has not noticed (SQLSTATE 42501). The state is for those who
//! ask why, and for starting and stopping in good order.

use sqlx::{PgConnection, Row, postgres::PgRow};
use uuid::Uuid;

use crate::schema::{Schema, safe, statements};

/// Creates the table, if it is not there; also the bus's second migration.
pub(crate) const MIGRATION: &str = include_str!("../migrations/0002_place.sql");

/// undefined_table, and undefined schema: nothing has been migrated there.
const ABSENT: [&str; 2] = ["42P01", "3F000"];

statements! {
    /// What a look takes.
    PlaceStatements {
        look: "SELECT id, state, peer, peer_name FROM {schema}.place",
        ensure: MIGRATION,
    }
}

/// What a schema is to its module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It serves.
    Here,
    /// Its content is being copied to its peer.
    Moving,
    /// Its content is coming from its peer, and is not known to be whole.
    Arriving,
    /// Its content is old: the peer serves.
    Moved,
}

impl State {
    fn read(text: &str) -> Option<Self> {
        Some(match text {
            "here" => Self::Here,
            "moving" => Self::Moving,
            "arriving" => Self::Arriving,
            "moved" => Self::Moved,
            _ => return None,
        })
    }

    /// As the column has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Here => "here",
            Self::Moving => "moving",
            Self::Arriving => "arriving",
            Self::Moved => "moved",
        }
    }
}

/// A schema's place in a move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Of this copy of the schema, and of no other.
    pub id: Uuid,
    pub state: State,
    /// The other copy's, unless this is the only one that counts.
    pub peer: Option<Uuid>,
    /// The other copy's server and database, for people.
    pub peer_name: Option<String>,
}

impl Place {
    /// Why the module does not serve from here, and what to do about it.
    pub fn reason(&self, module: &str) -> String {
        let peer = self.peer_name.as_deref().unwrap_or("another database");
        match self.state {
            State::Here => format!("{module} serves from here"),
            State::Moving => format!("{module} is being moved to {peer}"),
            State::Arriving => format!(
                "this database is to become the place of {module}, whose data are not all here yet: \
                 the move from {peer} has not ended"
            ),
            State::Moved => format!(
                "the data of {module} were moved to {peer}: change modules.{module}.database_url \
                 to that database"
            ),
        }
    }
}

/// What the schema says of itself; none before its first migration.
///
/// # Errors
/// As the runtime role: 42501 once its rights are revoked.
pub async fn look(conn: &mut PgConnection, schema: &Schema) -> Result<Option<Place>, sqlx::Error> {
    // The simple protocol: one round trip, where a prepared statement takes two.
    let statements = PlaceStatements::new(schema);
    match sqlx::raw_sql(safe(&statements.look)).fetch_one(conn).await {
        Ok(row) => place(&row).map(Some),
        Err(sqlx::Error::Database(error)) if is_absent(&*error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes the table where there is none, as the schema's owner.
pub async fn ensure(conn: &mut PgConnection, schema: &Schema) -> Result<(), sqlx::Error> {
    let statements = PlaceStatements::new(schema);
    sqlx::raw_sql(safe(&statements.ensure))
        .execute(conn)
        .await
        .map(drop)
}

fn is_absent(error: &dyn sqlx::error::DatabaseError) -> bool {
    error.code().is_some_and(|code| ABSENT.contains(&&*code))
}

fn place(row: &PgRow) -> Result<Place, sqlx::Error> {
    let state: String = row.try_get("state")?;
    Ok(Place {
        id: row.try_get("id")?,
        state: State::read(&state).ok_or_else(|| {
            sqlx::Error::Decode(format!("{state:?} is no state of a place").into())
        })?,
        peer: row.try_get("peer")?,
        peer_name: row.try_get("peer_name")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_name_what_to_change() {
        let place = |state| Place {
            id: Uuid::nil(),
            state,
            peer: Some(Uuid::nil()),
            peer_name: Some("db2:5432/banyan".to_owned()),
        };
        let moved = place(State::Moved).reason("profile");
        assert!(moved.contains("modules.profile.database_url"), "{moved}");
        for state in [State::Moving, State::Arriving, State::Moved] {
            assert_eq!(State::read(state.name()), Some(state));
            let reason = place(state).reason("profile");
            assert!(reason.contains("db2:5432/banyan"), "{reason}");
        }
    }
}
