//! Text from outside, for people to look at.

/// Shows what would not be seen, or would make what is seen a lie: control characters as the symbols for
/// them, marks of direction (Unicode TR 36, "Bidirectional Text Spoofing") by their numbers. Lines and
/// tabs stay.
pub(crate) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => shown.push(c),
            '\0'..='\u{1f}' => shown.extend(char::from_u32(0x2400 + u32::from(c))),
            '\u{7f}' => shown.push('\u{2421}'),
            '\u{80}'..='\u{9f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}' => shown.push_str(&format!("<{:04X}>", u32::from(c))),
            c => shown.push(c),
        }
    }
    shown
}

/// The first line, within so many characters.
pub(crate) fn first_line(text: &str, max: usize) -> String {
    let line = text.lines().next().unwrap_or_default();
    let mut shown: String = line.chars().take(max).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    visible(&shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_hidden() {
        for (text, shown) in [
            ("plain ü\n\tnext", "plain ü\n\tnext"),
            ("\u{1b}[31mred\r\0", "␛[31mred␍␀"),
            ("\u{7f}\u{9b}", "␡<009B>"),
            ("\u{202e}cod.exe\u{feff}", "<202E>cod.exe<FEFF>"),
        ] {
            assert_eq!(visible(text), shown);
        }
        assert_eq!(first_line("one\ntwo", 10), "one…");
        assert_eq!(first_line("one", 2), "on…");
        assert_eq!(first_line("one", 3), "one");
        assert_eq!(first_line("", 3), "");
    }
}
