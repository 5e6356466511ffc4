//! Rows in the binary format of COPY (PostgreSQL's manual, "COPY", "Binary Format"): nothing needs
//! escaping, and the server parses no numbers and no times.

use std::borrow::Cow;

use time::{OffsetDateTime, macros::datetime};
use uuid::Uuid;

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// Rows on their way to the server.
pub(crate) struct Rows {
    bytes: Vec<u8>,
    columns: i16,
}

impl Rows {
    pub(crate) fn new(columns: i16) -> Self {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(SIGNATURE);
        // Flags, and the length of the header's extension.
        bytes.extend_from_slice(&[0; 8]);
        Self { bytes, columns }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// What has been written since this was last asked.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        let next = Vec::with_capacity(self.bytes.len());
        std::mem::replace(&mut self.bytes, next)
    }

    pub(crate) fn row(&mut self) {
        self.bytes.extend_from_slice(&self.columns.to_be_bytes());
    }

    /// There are no more rows.
    pub(crate) fn end(&mut self) {
        self.bytes.extend_from_slice(&(-1_i16).to_be_bytes());
    }

    fn value(&mut self, bytes: &[u8]) {
        let len = i32::try_from(bytes.len()).expect("no value is near 2 GiB");
        self.bytes.extend_from_slice(&len.to_be_bytes());
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn null(&mut self) {
        self.bytes.extend_from_slice(&(-1_i32).to_be_bytes());
    }

    pub(crate) fn small(&mut self, value: i16) {
        self.value(&value.to_be_bytes());
    }

    pub(crate) fn big(&mut self, value: i64) {
        self.value(&value.to_be_bytes());
    }

    pub(crate) fn uuid(&mut self, value: Uuid) {
        self.value(value.as_bytes());
    }

    pub(crate) fn time(&mut self, value: OffsetDateTime) {
        self.value(&microseconds(value).to_be_bytes());
    }

    /// NUL, which PostgreSQL's text cannot hold, is shown as the symbol for it: one bad record must
    /// not take its batch with it.
    pub(crate) fn text(&mut self, value: &str) {
        let value = match value.contains('\0') {
            true => Cow::Owned(value.replace('\0', "\u{2400}")),
            false => Cow::Borrowed(value),
        };
        self.value(value.as_bytes());
    }

    /// An escaped NUL could be stored, but not be looked into.
    pub(crate) fn json(&mut self, value: &impl serde::Serialize) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        serde_json::to_writer(&mut self.bytes, value).expect("fields are plain data");
        show_nul(&mut self.bytes[start + 4..]);
        let len = self.bytes.len() - start - 4;
        let len = i32::try_from(len).expect("no value is near 2 GiB");
        self.bytes[start..start + 4].copy_from_slice(&len.to_be_bytes());
    }

    pub(crate) fn optional<T>(&mut self, value: Option<T>, write: fn(&mut Self, T)) {
        match value {
            Some(value) => write(self, value),
            None => self.null(),
        }
    }
}

/// Makes of each escaped NUL the symbol for it, which takes as many bytes.
fn show_nul(json: &mut [u8]) {
    let mut at = 0;
    while at < json.len() {
        if json[at] != b'\\' {
            at += 1;
            continue;
        }
        if json[at..].starts_with(br"\u0000") {
            json[at..at + 6].copy_from_slice(br"\u2400");
        }
        // What is escaped may be a backslash.
        at += 2;
    }
}

/// Since 2000-01-01, PostgreSQL's own epoch. Times before the year 0, which RFC 3339 cannot write
/// and partly PostgreSQL cannot hold, become its beginning.
fn microseconds(time: OffsetDateTime) -> i64 {
    const EPOCH: i64 = datetime!(2000-01-01 00:00 UTC).unix_timestamp();
    const EARLIEST: i64 = datetime!(0000-01-01 00:00 UTC).unix_timestamp();
    match time.unix_timestamp() {
        second if second < EARLIEST => (EARLIEST - EPOCH) * 1_000_000,
        second => (second - EPOCH) * 1_000_000 + i64::from(time.microsecond()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_laid_out_as_the_manual_says() {
        let mut rows = Rows::new(2);
        rows.row();
        rows.text("a\0b");
        rows.optional(None, Rows::big);
        rows.row();
        rows.json(&serde_json::json!({"k": 1}));
        rows.small(9);
        rows.end();
        let mut expected = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
        expected.extend_from_slice(b"\0\x02\0\0\0\x05a\xe2\x90\x80b\xff\xff\xff\xff");
        expected.extend_from_slice(b"\0\x02\0\0\0\x07{\"k\":1}\0\0\0\x02\0\x09\xff\xff");
        assert_eq!(rows.take(), expected);
        assert_eq!(rows.len(), 0);
    }

    #[test]
    fn json_has_no_nul() {
        for text in ["\0", "a\0\0b", "\\u0000", "\\\0", "\\\\u0000", "none"] {
            let mut json = serde_json::to_vec(text).unwrap();
            show_nul(&mut json);
            let shown: String = serde_json::from_slice(&json).unwrap();
            assert_eq!(shown, text.replace('\0', "\u{2400}"));
        }
    }

    #[test]
    fn times_are_microseconds_since_2000() {
        assert_eq!(
            microseconds(datetime!(2000-01-01 00:00:01.000002009 UTC)),
            1_000_002
        );
        assert_eq!(microseconds(datetime!(1999-12-31 23:59:59.5 UTC)), -500_000);
        assert_eq!(
            microseconds(datetime!(-9999-01-01 00:00 UTC)),
            microseconds(datetime!(0000-01-01 00:00 UTC))
        );
    }
}
