//! What a move finds at both ends, and what is to be done about it.

use anyhow::{bail, ensure};
use bus::place::{Place, State};

/// What is left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// All of it. An earlier move that did not end is begun again: copying is quick beside finding out
    /// what of it is whole.
    Move {
        /// What is at the target is an old copy, and goes.
        replaces: bool,
    },
    /// The target has everything and the source has stood down: the target is to begin.
    Finish,
    /// Nothing.
    Done,
}

/// Decides by the places of both; `used` says whether a process has ever served from the target.
pub(super) fn plan(
    module: &str,
    source: Option<&Place>,
    target: Option<&Place>,
    used: bool,
) -> anyhow::Result<Plan> {
    let Some(source) = source else {
        bail!("{module} has no tables yet: give it its database by configuration");
    };
    ensure!(
        target.is_none_or(|target| target.id != source.id),
        "{module} is in that database already"
    );
    let target_is_peer = target.is_some_and(|target| source.peer == Some(target.id));
    let source_is_peer = target.is_some_and(|target| target.peer == Some(source.id));
    let target_state = target.map(|target| target.state);
    match source.state {
        State::Here => {}
        State::Moving => ensure!(
            target_is_peer,
            "{}, and that has not ended: name that database to go on, or give --abort",
            source.reason(module)
        ),
        State::Moved if target_is_peer && target_state == Some(State::Here) => {
            return Ok(Plan::Done);
        }
        State::Moved if target_is_peer && source_is_peer => match target_state {
            Some(State::Arriving) => return Ok(Plan::Finish),
            _ => bail!("{}", source.reason(module)),
        },
        State::Moved | State::Arriving => bail!("{}", source.reason(module)),
    }
    match target_state {
        None => Ok(Plan::Move { replaces: false }),
        Some(State::Here) => {
            ensure!(
                !used,
                "that database has served {module} of another installation, or of this one before: \
                 its schema is not empty. Choose another, or have the schema dropped and prepared anew"
            );
            Ok(Plan::Move { replaces: false })
        }
        Some(State::Arriving) => {
            ensure!(
                source_is_peer,
                "that database is the target of another move: {}",
                target.map(|t| t.reason(module)).unwrap_or_default()
            );
            Ok(Plan::Move { replaces: false })
        }
        Some(State::Moved) => Ok(Plan::Move { replaces: true }),
        Some(State::Moving) => bail!("that database is itself being left by {module}"),
    }
}

#[cfg(test)]
mod tests {
    use kernel::{SeededRandom, TestClock, World};
    use uuid::Uuid;

    use super::*;

    fn ids() -> [Uuid; 3] {
        let world = World {
            clock: std::sync::Arc::new(TestClock::default()),
            random: std::sync::Arc::new(SeededRandom::new(1)),
        };
        [world.uuid(), world.uuid(), world.uuid()]
    }

    fn at(id: Uuid, state: State, peer: Option<Uuid>) -> Place {
        Place {
            id,
            state,
            peer,
            peer_name: peer.map(|_| "elsewhere:5432/banyan".to_owned()),
        }
    }

    #[test]
    fn every_state_that_a_kill_leaves_has_a_way_on() {
        use State::{Arriving, Here, Moved, Moving};
        let [a, b, _] = ids();
        let fresh = Some(Plan::Move { replaces: false });
        // In the order in which a move writes them.
        for (source, target, wanted) in [
            (at(a, Here, None), None, fresh),
            // Prepared, fenced, migrated, not yet marked.
            (at(a, Here, None), Some(at(b, Here, None)), fresh),
            (at(a, Here, None), Some(at(b, Arriving, Some(a))), fresh),
            (
                at(a, Moving, Some(b)),
                Some(at(b, Arriving, Some(a))),
                fresh,
            ),
            (
                at(a, Moved, Some(b)),
                Some(at(b, Arriving, Some(a))),
                Some(Plan::Finish),
            ),
            (
                at(a, Moved, Some(b)),
                Some(at(b, Here, None)),
                Some(Plan::Done),
            ),
            // And back.
            (
                at(b, Here, None),
                Some(at(a, Moved, Some(b))),
                Some(Plan::Move { replaces: true }),
            ),
        ] {
            let found = plan("profile", Some(&source), target.as_ref(), false).ok();
            assert_eq!(found, wanted, "{source:?} {target:?}");
        }
    }

    #[test]
    fn nothing_is_overwritten_that_may_be_the_only_copy() {
        use State::{Arriving, Here, Moved, Moving};
        let [a, b, c] = ids();
        for (source, target, used, said) in [
            (at(a, Here, None), Some(at(a, Here, None)), false, "already"),
            (
                at(a, Here, None),
                Some(at(b, Here, None)),
                true,
                "not empty",
            ),
            (
                at(a, Here, None),
                Some(at(b, Arriving, Some(c))),
                false,
                "another move",
            ),
            (
                at(a, Here, None),
                Some(at(b, Moving, Some(c))),
                false,
                "being left",
            ),
            (
                at(a, Moving, Some(c)),
                Some(at(b, Here, None)),
                false,
                "--abort",
            ),
            (at(a, Moving, Some(c)), None, false, "--abort"),
            (at(a, Moved, Some(c)), None, false, "database_url"),
            (
                at(a, Moved, Some(b)),
                Some(at(b, Moved, Some(c))),
                false,
                "database_url",
            ),
            (at(a, Arriving, Some(c)), None, false, "not all here"),
        ] {
            let error = plan("profile", Some(&source), target.as_ref(), used).unwrap_err();
            assert!(error.to_string().contains(said), "{error} {source:?}");
        }
        assert!(plan("profile", None, None, false).is_err());
    }
}
