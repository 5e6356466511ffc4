//! The layers around the records: request, resource, scope. What lies in a layer stays encoded
//! until it is opened.

use bytes::Bytes;
use opentelemetry_proto::tonic::{
    common::v1::InstrumentationScope, logs::v1::LogRecord, resource::v1::Resource,
};
use prost::Message;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use time::OffsetDateTime;

use super::{
    MAX_RECORD_BYTES, MAX_RECORDS, OtlpError, Received, Sender,
    record::{Origin, RESOURCE_BUDGET},
};

/// How a message is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Protobuf,
    Json,
}

/// A message that is not decoded yet.
pub(super) trait Part<'a>: Sized {
    fn request(body: &'a Bytes) -> Result<Vec<Self>, String>;
    /// A `ResourceLogs` or a `ScopeLogs`, which are alike: what all in it have in common, and it.
    fn layer(&self) -> Result<(Option<Self>, Vec<Self>), String>;
    fn decode<M: Message + Default + DeserializeOwned>(&self) -> Result<M, String>;
    fn len(&self) -> usize;
}

/// Field 1 of `ExportLogsServiceRequest`.
#[derive(Clone, PartialEq, Message)]
struct RequestBytes {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    resource_logs: Vec<Bytes>,
}

/// Fields 1 and 2 of `ResourceLogs` and of `ScopeLogs`.
#[derive(Clone, PartialEq, Message)]
struct LayerBytes {
    #[prost(bytes = "bytes", optional, tag = "1")]
    common: Option<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "2")]
    parts: Vec<Bytes>,
}

impl Part<'_> for Bytes {
    fn request(body: &Bytes) -> Result<Vec<Self>, String> {
        let request = RequestBytes::decode(body.clone()).map_err(|e| e.to_string())?;
        Ok(request.resource_logs)
    }

    fn layer(&self) -> Result<(Option<Self>, Vec<Self>), String> {
        let layer = LayerBytes::decode(self.clone()).map_err(|e| e.to_string())?;
        Ok((layer.common, layer.parts))
    }

    fn decode<M: Message + Default + DeserializeOwned>(&self) -> Result<M, String> {
        M::decode(self.clone()).map_err(|e| e.to_string())
    }

    fn len(&self) -> usize {
        Bytes::len(self)
    }
}

/// Names that are not known are passed over, and `null` is as good as nothing (OTLP, "JSON Protobuf
/// Encoding").
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestJson<'a> {
    #[serde(borrow, default)]
    resource_logs: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
struct LayerJson<'a> {
    #[serde(borrow, default, rename = "resource", alias = "scope")]
    common: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "scopeLogs", alias = "logRecords")]
    parts: Option<Vec<&'a RawValue>>,
}

impl<'a> Part<'a> for &'a RawValue {
    fn request(body: &'a Bytes) -> Result<Vec<Self>, String> {
        let request: RequestJson<'a> = serde_json::from_slice(body).map_err(|e| e.to_string())?;
        Ok(request.resource_logs.unwrap_or_default())
    }

    fn layer(&self) -> Result<(Option<Self>, Vec<Self>), String> {
        let layer: LayerJson<'a> = serde_json::from_str(self.get()).map_err(|e| e.to_string())?;
        Ok((layer.common, layer.parts.unwrap_or_default()))
    }

    fn decode<M: Message + Default + DeserializeOwned>(&self) -> Result<M, String> {
        serde_json::from_str(self.get()).map_err(|e| e.to_string())
    }

    fn len(&self) -> usize {
        self.get().len()
    }
}

/// Opens a request and maps its records.
pub(super) fn read<'a, P: Part<'a>>(
    body: &'a Bytes,
    sender: &Sender,
    now: OffsetDateTime,
) -> Result<Received, OtlpError> {
    let mut received = Received {
        records: Vec::new(),
        rejected: 0,
        reason: None,
    };
    let mut seen = 0;
    let mut budget = RESOURCE_BUDGET;
    for resource_logs in P::request(body).map_err(OtlpError::Malformed)? {
        let (resource, scopes) = resource_logs.layer().map_err(OtlpError::Malformed)?;
        let resource: Resource = common(resource)?;
        let mut origin = Origin::new(&resource, sender);
        for scope_logs in scopes {
            let (scope, records) = scope_logs.layer().map_err(OtlpError::Malformed)?;
            let scope: InstrumentationScope = common(scope)?;
            origin.enter(&scope);
            seen += records.len();
            if seen > MAX_RECORDS {
                return Err(OtlpError::TooMany);
            }
            for record in records {
                match within(&record).and_then(|r| r.decode::<LogRecord>()) {
                    Ok(record) => received.records.push(origin.map(record, now, &mut budget)),
                    Err(why) => {
                        received.rejected += 1;
                        received.reason.get_or_insert(why);
                    }
                }
            }
        }
    }
    Ok(received)
}

fn common<'a, P: Part<'a>, M: Message + Default + DeserializeOwned>(
    part: Option<P>,
) -> Result<M, OtlpError> {
    match part {
        Some(part) => within(&part)
            .and_then(P::decode)
            .map_err(OtlpError::Malformed),
        None => Ok(M::default()),
    }
}

fn within<'a, P: Part<'a>>(part: &P) -> Result<&P, String> {
    if part.len() > MAX_RECORD_BYTES {
        return Err(format!("it has more than {MAX_RECORD_BYTES} bytes"));
    }
    Ok(part)
}
