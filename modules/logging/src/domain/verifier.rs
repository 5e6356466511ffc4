//! Verifying the chain of audit entries, one after the other.

use std::collections::HashMap;

use crate::domain::chain::{Checkpoint, Entry, VERSION, content_digest, entry_hash};

/// What is wrong with the first entry that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("entry {seq} is missing: entry {found} comes instead")]
    Missing { seq: i64, found: i64 },
    #[error("entry {seq} is missing: the chain is cut off there")]
    CutOff { seq: i64 },
    #[error("entry {seq} is of version {version}, which this program does not know")]
    UnknownVersion { seq: i64, version: i16 },
    #[error("entry {seq}: its content was changed")]
    ContentChanged { seq: i64 },
    #[error("entry {seq}: it was changed, or the entry before it was")]
    Changed { seq: i64 },
    #[error("entry {seq} has position {pos} of {publisher}, not {expected}")]
    Position {
        seq: i64,
        publisher: String,
        pos: i64,
        expected: i64,
    },
}

/// Checks entries in the order of the chain.
pub(crate) struct Verifier {
    previous: Checkpoint,
    /// The last position met of each publisher.
    positions: HashMap<String, i64>,
    /// Entries without content.
    erased: i64,
}

impl Verifier {
    /// Starts after an entry that is taken on trust, or before the first.
    pub(crate) fn after(previous: Checkpoint) -> Self {
        Self {
            previous,
            positions: HashMap::new(),
            erased: 0,
        }
    }

    /// The last entry that was found right.
    pub(crate) fn verified(&self) -> Checkpoint {
        self.previous
    }

    /// How many had no content left. Erasing a person is meant to leave such entries; the chain holds
    /// without, so it cannot tell who took it.
    pub(crate) fn erased(&self) -> i64 {
        self.erased
    }

    pub(crate) fn check(&mut self, entry: &Entry) -> Result<(), Fault> {
        let metadata = &entry.metadata;
        let seq = self.previous.seq + 1;
        if metadata.seq != seq {
            return Err(Fault::Missing {
                seq,
                found: metadata.seq,
            });
        }
        if entry.version != VERSION {
            return Err(Fault::UnknownVersion {
                seq,
                version: entry.version,
            });
        }
        match &entry.content {
            Some((salt, content)) if content_digest(salt, content) != entry.content_digest => {
                return Err(Fault::ContentChanged { seq });
            }
            Some(_) => {}
            None => self.erased += 1,
        }
        if entry_hash(&self.previous.hash, metadata, &entry.content_digest) != entry.hash {
            return Err(Fault::Changed { seq });
        }
        // A publisher's log is dense: a position that is passed over is an event that was not
        // entered.
        match self.positions.get_mut(&metadata.publisher) {
            Some(last) if *last + 1 != metadata.pos => {
                return Err(Fault::Position {
                    seq,
                    publisher: metadata.publisher.clone(),
                    pos: metadata.pos,
                    expected: *last + 1,
                });
            }
            Some(last) => *last = metadata.pos,
            None => {
                self.positions
                    .insert(metadata.publisher.clone(), metadata.pos);
            }
        }
        self.previous = entry.checkpoint();
        Ok(())
    }

    /// There are no more entries: was `last` the last?
    pub(crate) fn end(&self, last: i64) -> Result<Checkpoint, Fault> {
        if self.previous.seq < last {
            return Err(Fault::CutOff {
                seq: self.previous.seq + 1,
            });
        }
        Ok(self.previous)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::chain::tests::{content, metadata};

    fn chain(length: usize) -> Vec<Entry> {
        let mut previous = Checkpoint::GENESIS;
        (0..length)
            .map(|n| {
                let mut metadata = metadata();
                metadata.publisher = ["identity", "profile"][n % 2].to_owned();
                metadata.pos = i64::try_from(n / 2).unwrap() + 1;
                let entry = Entry::after(&previous, metadata, content(), [3; 16]);
                previous = entry.checkpoint();
                entry
            })
            .collect()
    }

    fn verify(entries: &[Entry]) -> Result<Checkpoint, Fault> {
        let mut verifier = Verifier::after(Checkpoint::GENESIS);
        for entry in entries {
            verifier.check(entry)?;
        }
        verifier.end(6)
    }

    /// Gives entry `n` the hash that it should have by itself, as a careful forger would.
    fn rehash(entries: &mut [Entry], n: usize) {
        let previous = entries[n - 1].hash;
        let entry = &mut entries[n];
        if let Some((salt, content)) = &entry.content {
            entry.content_digest = content_digest(salt, content);
        }
        entry.hash = entry_hash(&previous, &entry.metadata, &entry.content_digest);
    }

    #[test]
    fn a_whole_chain_verifies_and_so_does_an_erased_one() {
        let mut entries = chain(6);
        assert_eq!(verify(&entries), Ok(entries[5].checkpoint()));
        entries[2].content = None;
        entries[5].content = None;
        assert_eq!(verify(&entries), Ok(entries[5].checkpoint()));
        let mut verifier = Verifier::after(Checkpoint::GENESIS);
        for entry in &entries {
            verifier.check(entry).unwrap();
        }
        assert_eq!(verifier.erased(), 2, "but it is told");
    }

    #[test]
    fn the_first_bad_entry_is_named() {
        type Tamper = fn(&mut Vec<Entry>);
        let cases: [(&str, Tamper, Fault); 9] = [
            (
                "metadata changed",
                |e| e[2].metadata.actor = Some("user:other".into()),
                Fault::Changed { seq: 3 },
            ),
            (
                "metadata changed and hashed anew",
                |e| {
                    e[2].metadata.actor = None;
                    rehash(e, 2);
                },
                Fault::Changed { seq: 4 },
            ),
            (
                "content changed",
                |e| e[2].content.as_mut().unwrap().1.data = "{}".into(),
                Fault::ContentChanged { seq: 3 },
            ),
            (
                "client forged",
                |e| e[2].content.as_mut().unwrap().1.client_address = None,
                Fault::ContentChanged { seq: 3 },
            ),
            (
                "content changed and hashed anew",
                |e| {
                    e[2].content.as_mut().unwrap().1.data = "{}".into();
                    rehash(e, 2);
                },
                Fault::Changed { seq: 4 },
            ),
            (
                "deleted",
                |e| {
                    e.remove(2);
                },
                Fault::Missing { seq: 3, found: 4 },
            ),
            (
                "reordered",
                |e| {
                    e.swap(2, 4);
                    (e[2].metadata.seq, e[4].metadata.seq) = (3, 5);
                },
                Fault::Changed { seq: 3 },
            ),
            (
                "inserted",
                |e| e.insert(2, e[1].clone()),
                Fault::Missing { seq: 3, found: 2 },
            ),
            ("tail deleted", |e| e.truncate(4), Fault::CutOff { seq: 5 }),
        ];
        for (name, tamper, fault) in cases {
            let mut entries = chain(6);
            tamper(&mut entries);
            assert_eq!(verify(&entries), Err(fault), "{name}");
        }
    }

    #[test]
    fn an_event_that_was_passed_over_shows() {
        let mut entries = chain(4);
        entries[3].metadata.pos = 3;
        rehash(&mut entries, 3);
        let fault = Fault::Position {
            seq: 4,
            publisher: "profile".into(),
            pos: 3,
            expected: 2,
        };
        assert_eq!(verify(&entries), Err(fault));
        let mut entries = chain(1);
        entries[0].version = 2;
        assert_eq!(
            verify(&entries),
            Err(Fault::UnknownVersion { seq: 1, version: 2 })
        );
    }
}
