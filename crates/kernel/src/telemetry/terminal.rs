//! Lines on their way to stderr.
//!
//! A thread writes them, many at a time: a write for each would cost a busy edge a tenth of its time,
//! and whoever reads from a pipe slowly would hold up requests.

use std::{
    cell::RefCell,
    io::{self, IsTerminal, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread::{self, JoinHandle},
    time::Duration,
};

use tracing::Level;

use super::{Format, LogRecord};

/// For how long lines are gathered. Warnings and errors do not wait.
const GATHERING: Duration = Duration::from_millis(20);
/// What may wait to be written; further lines are lost, and counted.
const MAX_WAITING_BYTES: usize = 4 * 1024 * 1024;

/// stderr, a line per record.
pub struct Terminal {
    format: Format,
    colours: bool,
    lines: Arc<Lines>,
}

#[derive(Default)]
struct Lines {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    text: Vec<u8>,
    lost: u64,
    urgent: bool,
    closed: bool,
}

/// Writes what waits when it is dropped; lines that come later are written at once.
#[must_use = "lines are lost when the process ends without it"]
pub struct Flush {
    lines: Arc<Lines>,
    writer: Option<JoinHandle<()>>,
}

impl Terminal {
    /// # Errors
    /// When there can be no more threads.
    pub fn start(format: Format) -> io::Result<(Self, Flush)> {
        let lines = Arc::<Lines>::default();
        let writer = {
            let lines = Arc::clone(&lines);
            let write = move || lines.write_to(io::stderr());
            thread::Builder::new()
                .name("stderr".to_owned())
                .spawn(write)?
        };
        let flush = Flush {
            lines: Arc::clone(&lines),
            writer: Some(writer),
        };
        let terminal = Self {
            format,
            colours: io::stderr().is_terminal(),
            lines,
        };
        Ok((terminal, flush))
    }

    pub(super) fn show(&self, record: &LogRecord) {
        thread_local! {
            static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        LINE.with_borrow_mut(|line| {
            line.clear();
            self.format.write(record, self.colours, line);
            self.lines.add(line, record.level <= Level::WARN);
        });
    }
}

impl Lines {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("no holder panics")
    }

    fn add(&self, line: &[u8], urgent: bool) {
        let mut waiting = self.lock();
        if waiting.closed {
            // That stderr has gone is nothing that could be told anywhere.
            let _ = io::stderr().write_all(line);
            return;
        }
        if waiting.text.len() + line.len() > MAX_WAITING_BYTES {
            waiting.lost += 1;
            return;
        }
        let first = waiting.text.is_empty();
        waiting.text.extend_from_slice(line);
        waiting.urgent |= urgent;
        drop(waiting);
        if first || urgent {
            self.changed.notify_one();
        }
    }

    /// Until it is closed and everything is written.
    fn write_to(&self, mut out: impl Write) {
        let mut text = Vec::new();
        loop {
            let idle = |waiting: &mut Waiting| waiting.text.is_empty() && !waiting.closed;
            let waiting = self.changed.wait_while(self.lock(), idle);
            let calm = |waiting: &mut Waiting| !waiting.urgent && !waiting.closed;
            let waiting = self.changed.wait_timeout_while(
                waiting.expect("no holder panics"),
                GATHERING,
                calm,
            );
            let (mut waiting, _) = waiting.expect("no holder panics");
            std::mem::swap(&mut text, &mut waiting.text);
            waiting.urgent = false;
            let (lost, closed) = (std::mem::take(&mut waiting.lost), waiting.closed);
            drop(waiting);
            let _ = out.write_all(&text);
            text.clear();
            if lost > 0 {
                let _ = writeln!(out, "{lost} lines were lost: stderr was read too slowly");
            }
            if closed {
                return;
            }
        }
    }
}

impl Drop for Flush {
    fn drop(&mut self) {
        self.lines.lock().closed = true;
        self.lines.changed.notify_one();
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Tells what it was given to write, and takes no more until that was heard.
    struct Slow(mpsc::SyncSender<String>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let text = String::from_utf8_lossy(bytes).into_owned();
            self.0.send(text).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_written_in_order_and_those_lost_to_a_slow_reader_are_told() {
        let lines = Arc::<Lines>::default();
        let (told, heard) = mpsc::sync_channel(0);
        let writer = {
            let lines = Arc::clone(&lines);
            thread::spawn(move || lines.write_to(Slow(told)))
        };
        lines.add(b"one\n", false);
        lines.add(b"two\n", true);
        let mut written = String::new();
        while !written.ends_with("two\n") {
            written.push_str(&heard.recv().unwrap());
        }
        assert_eq!(written, "one\ntwo\n");

        lines.add(b"three\n", true);
        lines.add(&vec![b'x'; MAX_WAITING_BYTES], false);
        lines.add(b"too much\n", false);
        lines.lock().closed = true;
        lines.changed.notify_one();
        let rest: String = heard.iter().collect();
        assert!(rest.starts_with("three\n"), "{}", &rest[..20]);
        assert!(rest.contains(" lines were lost"), "nothing was told");
        writer.join().unwrap();
    }
}
