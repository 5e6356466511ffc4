//! Text to look for, as patterns for LIKE.

/// Matches what contains `text`, taken as it is: `%` and `_` stand for themselves.
pub(crate) fn containing(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for c in text.chars() {
        if matches!(c, '\\' | '%' | '_') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

/// Matches JSON in whose strings `text` occurs: there, quotes and backslashes are escaped.
pub(crate) fn containing_in_json(text: &str) -> String {
    let quoted = serde_json::to_string(text).expect("a string is plain data");
    containing(&quoted[1..quoted.len() - 1])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn wildcards_stand_for_themselves() {
        assert_eq!(containing("100%_a\\b"), r"%100\%\_a\\b%");
        assert_eq!(containing_in_json(r#"a"b"#), r#"%a\\"b%"#);
        assert_eq!(containing_in_json(r"C:\x"), r"%C:\\\\x%");
    }

    /// What a pattern without wildcards inside matches: LIKE's own rules.
    fn literal(pattern: &str) -> Option<String> {
        let inner = pattern.strip_prefix('%')?.strip_suffix('%')?;
        let mut out = String::new();
        let mut chars = inner.chars();
        while let Some(c) = chars.next() {
            match c {
                '\\' => out.push(chars.next()?),
                '%' | '_' => return None,
                c => out.push(c),
            }
        }
        Some(out)
    }

    proptest! {
        #[test]
        fn any_text_is_matched_literally(text in ".*") {
            prop_assert_eq!(literal(&containing(&text)), Some(text));
        }
    }
}
