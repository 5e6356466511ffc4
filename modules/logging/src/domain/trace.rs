//! Ids of traces and spans (W3C Trace Context §3.2.2), in the forms that are stored.

use uuid::Uuid;

/// 32 lowercase hex digits.
pub(crate) fn parse_trace_id(text: &str) -> Option<Uuid> {
    is_hex(text, 32)
        .then(|| Uuid::try_parse(text).ok())
        .flatten()
}

pub(crate) fn show_trace_id(id: Uuid) -> String {
    id.simple().to_string()
}

/// 16 lowercase hex digits, as the 64 bits that they are.
pub(crate) fn parse_span_id(text: &str) -> Option<i64> {
    is_hex(text, 16)
        .then(|| u64::from_str_radix(text, 16).ok())
        .flatten()
        .map(u64::cast_signed)
}

pub(crate) fn show_span_id(id: i64) -> String {
    format!("{:016x}", id.cast_unsigned())
}

fn is_hex(text: &str, len: usize) -> bool {
    text.len() == len && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_back_and_nothing_else_parses() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(show_trace_id(parse_trace_id(trace).unwrap()), trace);
        for span in ["00f067aa0ba902b7", "ffffffffffffffff"] {
            assert_eq!(show_span_id(parse_span_id(span).unwrap()), span);
        }
        for bad in [
            "",
            "4bf92f35-77b3-4da6-a3ce-929d0e0e4736",
            &trace.to_uppercase(),
            "+1",
        ] {
            assert_eq!(parse_trace_id(bad), None, "{bad}");
            assert_eq!(parse_span_id(bad), None, "{bad}");
        }
    }
}
