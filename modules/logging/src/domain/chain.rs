//! The chain of audit entries: what is hashed, and how.
//!
//! Each entry's hash covers the previous entry's hash, the entry's own metadata and a digest of its
//! content. The digest is salted, so that content and salt can be erased together: the digest
//! stays, the chain verifies as before, and nobody can find the content by trying.
//!
//! # Encoding, version 1
//!
//! Integers are big-endian. `text` is its length in bytes (u32), then UTF-8. `optional x` is 0, or
//! 1 and then x. Every part has a length or a fixed size, so no two entries have one encoding.
//!
//! ```text
//! metadata        1 (u8, version)
//!                 seq (i64)            publisher (text)      pos (i64)
//!                 event id (16 bytes)  time (i64, microseconds since 1970-01-01 UTC)
//!                 action (text)        target (text)
//!                 optional actor (text)            optional on-behalf-of (text)
//!                 optional tenant (16 bytes)       optional trace id (16 bytes)
//!                 correlation id (text)            optional causation id (16 bytes)
//! content         1 (u8, version)
//!                 data (text: the JSON as it is stored)
//!                 optional client address (text)   optional user agent (text)
//! content digest  SHA-256(salt (16 bytes) ‖ content)
//! hash            SHA-256(previous hash (32 bytes) ‖ metadata ‖ content digest (32 bytes))
//! ```
//!
//! The first entry has seq 1; the hash before it is 32 zero bytes.

use std::{fmt, str::FromStr};

use aws_lc_rs::digest;
use time::OffsetDateTime;
use uuid::Uuid;

pub(crate) type Digest = [u8; 32];
pub(crate) type Salt = [u8; 16];

/// The encoding that entries are written with.
pub(crate) const VERSION: i16 = 1;

/// What is never erased. Persons are in it by their ids only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Metadata {
    pub(crate) seq: i64,
    pub(crate) publisher: String,
    /// In the publisher's log.
    pub(crate) pos: i64,
    pub(crate) event_id: Uuid,
    /// To the microsecond: what PostgreSQL returns is what was hashed.
    pub(crate) time: OffsetDateTime,
    /// The event's type.
    pub(crate) action: String,
    /// The event's subject.
    pub(crate) target: String,
    pub(crate) actor: Option<String>,
    pub(crate) on_behalf_of: Option<String>,
    pub(crate) tenant: Option<Uuid>,
    pub(crate) trace_id: Option<Uuid>,
    pub(crate) correlation_id: String,
    pub(crate) causation_id: Option<Uuid>,
}

/// What is erased with a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    /// JSON.
    pub(crate) data: String,
    pub(crate) client_address: Option<String>,
    pub(crate) user_agent: Option<String>,
}

/// An entry as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) version: i16,
    pub(crate) metadata: Metadata,
    /// None once erased.
    pub(crate) content: Option<(Salt, Content)>,
    pub(crate) content_digest: Digest,
    pub(crate) hash: Digest,
}

impl Entry {
    /// The entry that follows `previous`; its `seq` is set here.
    pub(crate) fn after(
        previous: &Checkpoint,
        mut metadata: Metadata,
        content: Content,
        salt: Salt,
    ) -> Self {
        metadata.seq = previous.seq + 1;
        let content_digest = content_digest(&salt, &content);
        let hash = entry_hash(&previous.hash, &metadata, &content_digest);
        let content = Some((salt, content));
        Self {
            version: VERSION,
            metadata,
            content,
            content_digest,
            hash,
        }
    }

    pub(crate) fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            seq: self.metadata.seq,
            hash: self.hash,
        }
    }
}

pub(crate) fn content_digest(salt: &Salt, content: &Content) -> Digest {
    let mut bytes = Encoder::with_capacity(content.data.len() + 128);
    bytes.raw(salt);
    bytes.content(content);
    bytes.sha256()
}

pub(crate) fn entry_hash(
    previous: &Digest,
    metadata: &Metadata,
    content_digest: &Digest,
) -> Digest {
    let mut bytes = Encoder::with_capacity(512);
    bytes.raw(previous);
    bytes.metadata(metadata);
    bytes.raw(content_digest);
    bytes.sha256()
}

/// Writes the encoding that is described above.
struct Encoder(Vec<u8>);

impl Encoder {
    fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    fn metadata(&mut self, metadata: &Metadata) {
        let Metadata {
            seq,
            publisher,
            pos,
            event_id,
            time,
            action,
            target,
            actor,
            on_behalf_of,
            tenant,
            trace_id,
            correlation_id,
            causation_id,
        } = metadata;
        self.raw(&[1]);
        self.int(*seq);
        self.text(publisher);
        self.int(*pos);
        self.raw(event_id.as_bytes());
        self.int(time.unix_timestamp() * 1_000_000 + i64::from(time.microsecond()));
        self.text(action);
        self.text(target);
        self.optional(actor.as_deref(), Self::text);
        self.optional(on_behalf_of.as_deref(), Self::text);
        self.optional(tenant.as_ref(), Self::uuid);
        self.optional(trace_id.as_ref(), Self::uuid);
        self.text(correlation_id);
        self.optional(causation_id.as_ref(), Self::uuid);
    }

    fn content(&mut self, content: &Content) {
        let Content {
            data,
            client_address,
            user_agent,
        } = content;
        self.raw(&[1]);
        self.text(data);
        self.optional(client_address.as_deref(), Self::text);
        self.optional(user_agent.as_deref(), Self::text);
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn int(&mut self, value: i64) {
        self.raw(&value.to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        let len = u32::try_from(text.len()).expect("PostgreSQL's texts are below 1 GiB");
        self.raw(&len.to_be_bytes());
        self.raw(text.as_bytes());
    }

    fn uuid(&mut self, id: &Uuid) {
        self.raw(id.as_bytes());
    }

    fn optional<T: ?Sized>(&mut self, value: Option<&T>, write: fn(&mut Self, &T)) {
        match value {
            None => self.raw(&[0]),
            Some(value) => {
                self.raw(&[1]);
                write(self, value);
            }
        }
    }

    fn sha256(&self) -> Digest {
        let digest = digest::digest(&digest::SHA256, &self.0);
        digest.as_ref().try_into().expect("SHA-256 gives 32 bytes")
    }
}

/// An entry's number and hash. Kept elsewhere, it proves later that nothing up to there was changed
/// or cut off. Written `SEQ:HASH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) seq: i64,
    pub(crate) hash: Digest,
}

impl Checkpoint {
    /// Before the first entry.
    pub(crate) const GENESIS: Self = Self {
        seq: 0,
        hash: [0; 32],
    };
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, kernel::context::hex(&self.hash))
    }
}

#[derive(Debug, thiserror::Error)]
#[error("a checkpoint is SEQ:HASH, a number and 64 hex digits")]
pub(crate) struct InvalidCheckpoint;

impl FromStr for Checkpoint {
    type Err = InvalidCheckpoint;

    fn from_str(text: &str) -> Result<Self, InvalidCheckpoint> {
        let (seq, hex) = text.trim().split_once(':').ok_or(InvalidCheckpoint)?;
        let seq = seq
            .parse()
            .ok()
            .filter(|seq| *seq >= 0)
            .ok_or(InvalidCheckpoint)?;
        if hex.len() != 64 || !hex.is_ascii() {
            return Err(InvalidCheckpoint);
        }
        let mut hash = [0; 32];
        for (byte, digits) in hash.iter_mut().zip(hex.as_bytes().chunks(2)) {
            let digits = str::from_utf8(digits).map_err(|_| InvalidCheckpoint)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| InvalidCheckpoint)?;
        }
        Ok(Self { seq, hash })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use kernel::context::hex;
    use proptest::prelude::*;
    use time::macros::datetime;

    use super::*;

    pub(crate) fn metadata() -> Metadata {
        Metadata {
            seq: 1,
            publisher: "identity".into(),
            pos: 7,
            event_id: Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0001),
            time: datetime!(2026-01-02 03:04:05.678901 UTC),
            action: "identity.user.registered.v1".into(),
            target: "0192-user".into(),
            actor: Some("user:0192-user".into()),
            on_behalf_of: None,
            tenant: None,
            trace_id: Some(Uuid::from_u128(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736)),
            correlation_id: "4bf92f3577b34da6a3ce929d0e0e4736".into(),
            causation_id: None,
        }
    }

    pub(crate) fn content() -> Content {
        Content {
            data: r#"{"email":"a@example.org"}"#.into(),
            client_address: Some("192.0.2.1".into()),
            user_agent: None,
        }
    }

    /// Made independently, with Python's struct and hashlib, from the description above. If this
    /// fails, every chain in the world fails to verify: make a version 2 instead.
    #[test]
    fn version_one_never_changes() {
        let digest = content_digest(&[0x5a; 16], &content());
        assert_eq!(
            hex(&digest),
            "b24fedb8fa3624e69f9c351b4173654994a3cff0d4c045a7a4ee48410e1517c6"
        );
        let entry = Entry::after(&Checkpoint::GENESIS, metadata(), content(), [0x5a; 16]);
        assert_eq!(entry.content_digest, digest);
        assert_eq!(
            hex(&entry.hash),
            "07763f8333c4f8bde8492e18f51c9c8f06f3b55cad0ea81555045c0050514cb4"
        );

        let mut bare = metadata();
        (bare.actor, bare.trace_id) = (None, None);
        bare.on_behalf_of = Some("user:b".into());
        bare.tenant = Some(Uuid::from_u128(2));
        bare.causation_id = Some(Uuid::from_u128(3));
        bare.time = datetime!(1969-12-31 23:59:59.999999 UTC);
        let content = Content {
            data: "null".into(),
            client_address: None,
            user_agent: Some("ü".into()),
        };
        let second = Entry::after(&entry.checkpoint(), bare, content, [0; 16]);
        assert_eq!(second.metadata.seq, 2);
        assert_eq!(
            hex(&second.hash),
            "e25caa023d765a80efbd38b12b0a823ce254f564a6ae0cd491d8cdde2bf2013d"
        );
    }

    #[test]
    fn checkpoints_come_back() {
        let checkpoint = Checkpoint {
            seq: 42,
            hash: [0xab; 32],
        };
        assert_eq!(
            checkpoint.to_string().parse::<Checkpoint>().unwrap(),
            checkpoint
        );
        for bad in [
            "",
            "1",
            "1:ab",
            &format!("-1:{}", "00".repeat(32)),
            &format!("1:{}", "é".repeat(32)),
        ] {
            assert!(bad.parse::<Checkpoint>().is_err(), "{bad}");
        }
    }

    proptest! {
        /// Text moved from one field to its neighbour is another entry.
        #[test]
        fn no_two_entries_have_one_encoding(text in "\\PC{0,12}", at in 0_usize..=12) {
            let split = text.floor_char_boundary(at.min(text.len()));
            let hash = |action: &str, target: &str| {
                let mut metadata = metadata();
                (metadata.action, metadata.target) = (action.into(), target.into());
                entry_hash(&[0; 32], &metadata, &[0; 32])
            };
            let whole = hash(&text, "");
            let parts = hash(&text[..split], &text[split..]);
            prop_assert_eq!(whole == parts, split == text.len());
        }
    }
}
