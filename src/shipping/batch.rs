//! Batches: records and notes of what was dropped, with a tally of both for the case that they have
//! to be dropped themselves.

use std::{borrow::Cow, collections::VecDeque};

use bytes::Bytes;
use kernel::{
    World,
    telemetry::{Dropped, LogRecord},
};
use spool::Batch;
use tracing::Level;

use super::otlp::Request;

/// Records of a batch, at most.
pub(super) const MAX_RECORDS: usize = 2_000;

/// About how many bytes a batch has before it is compressed: below server.max_body_bytes and
/// logging.otlp_max_bytes of a destination with common settings, whatever is in it.
const FULL_AT_BYTES: usize = 512 * 1024;

/// Makes a batch of the notes of all that was dropped, and of as many records as fit. Nothing when
/// there is neither.
pub(super) fn make(
    world: &World,
    dropped: &mut Dropped,
    records: &mut VecDeque<LogRecord>,
) -> Option<Batch> {
    if dropped.is_empty() && records.is_empty() {
        return None;
    }
    let now = world.now();
    let mut request = Request::default();
    // A note stands for what it counts, so that a count survives the loss of its note.
    let mut tally = std::mem::take(dropped);
    let mut bytes = 0;
    for ((service, level), count) in &tally {
        bytes += request.add(LogRecord::dropped(now, service.clone(), *level, *count));
    }
    let mut added: u64 = 0;
    while added < MAX_RECORDS as u64 && bytes < FULL_AT_BYTES {
        let Some(record) = records.pop_front() else {
            break;
        };
        added += 1;
        *tally
            .entry((record.service.clone(), record.level))
            .or_default() += 1;
        bytes += request.add(record);
    }
    Some(Batch {
        id: world.uuid(),
        note: write(added, &tally),
        payload: request.finish().into(),
    })
}

/// A batch's note: how many records are in it, and what it stands for.
fn write(records: u64, tally: &Dropped) -> Bytes {
    let rows: Vec<_> = tally
        .iter()
        .map(|((service, level), count)| (service, level.as_str(), count))
        .collect();
    serde_json::to_vec(&(records, rows))
        .expect("plain data")
        .into()
}

type Note = (u64, Vec<(String, String, u64)>);

/// How many records are in a batch.
pub(super) fn records(note: &[u8]) -> u64 {
    let (records, _): Note = serde_json::from_slice(note).unwrap_or_default();
    records
}

/// Adds what a batch stood for to what was dropped.
pub(super) fn add_to(dropped: &mut Dropped, note: &[u8]) {
    let (_, rows): Note = serde_json::from_slice(note).unwrap_or_default();
    for (service, level, count) in rows {
        let level = level.parse().unwrap_or(Level::ERROR);
        *dropped.entry((Cow::Owned(service), level)).or_default() += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_survives_the_loss_of_its_note() {
        let world = World::system();
        let key = (Cow::Borrowed("identity"), Level::INFO);
        let mut dropped = Dropped::from([(key.clone(), 7)]);
        let record = LogRecord::dropped(world.now(), "identity".into(), Level::INFO, 1);
        let mut records = VecDeque::from([record.clone(), record]);
        let batch = make(&world, &mut dropped, &mut records).unwrap();
        assert!(dropped.is_empty() && records.is_empty());
        assert_eq!(super::records(&batch.note), 2);
        add_to(&mut dropped, &batch.note);
        assert_eq!(dropped[&key], 9);
        assert!(make(&world, &mut Dropped::new(), &mut records).is_none());
    }

    #[test]
    fn batches_are_bounded_in_records_and_bytes() {
        let world = World::system();
        let record = |text: String| LogRecord {
            message: text,
            ..LogRecord::dropped(world.now(), "identity".into(), Level::INFO, 1)
        };
        let mut rest = VecDeque::from(vec![record("x".repeat(16_000)); 100]);
        make(&world, &mut Dropped::new(), &mut rest).unwrap();
        assert_eq!(rest.len(), 67);
        let mut rest = VecDeque::from(vec![record(String::new()); MAX_RECORDS + 1]);
        make(&world, &mut Dropped::new(), &mut rest).unwrap();
        assert_eq!(rest.len(), 1);
    }
}
