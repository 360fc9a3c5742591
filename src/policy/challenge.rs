//! `WWW-Authenticate`, as far as a 401 needs it (behaviour.md 3.1 to 3.5).

/// The `error` parameter of the Bearer challenge in a `WWW-Authenticate` value, if it is there.
///
/// Reads RFC 9110 §11.6.1 lists: several challenges, quoted strings with commas and quoted pairs,
/// token68 values, empty elements. Errors of other schemes are theirs. What cannot be read is ignored.
pub fn bearer_error(header: &str) -> Option<String> {
    let mut in_bearer = false;
    for element in elements(header) {
        let (head, value) = match element.split_once('=') {
            Some((head, value)) if !head.trim().is_empty() => (head.trim(), Some(value.trim())),
            _ => (element, None),
        };
        // `Bearer error="x"` starts a challenge; `error="x"` goes on with the one before.
        let mut words = head.split_ascii_whitespace();
        let (first, second) = (words.next()?, words.next());
        let name = match (second, value) {
            (Some(name), _) => {
                in_bearer = first.eq_ignore_ascii_case("bearer");
                name
            }
            (None, Some(_)) => first,
            (None, None) => {
                in_bearer = first.eq_ignore_ascii_case("bearer");
                continue;
            }
        };
        if in_bearer && name.eq_ignore_ascii_case("error") {
            return value.and_then(unquote);
        }
    }
    None
}

/// Splits at commas outside quotes and drops empty elements.
fn elements(header: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    header
        .split(move |letter| {
            let splits = letter == ',' && !quoted;
            match letter {
                _ if escaped => escaped = false,
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                _ => {}
            }
            splits
        })
        .map(str::trim)
        .filter(|element| !element.is_empty())
}

/// A token as it is, a quoted-string without quotes and escapes. No final quote: nothing.
fn unquote(value: &str) -> Option<String> {
    let Some(inner) = value.strip_prefix('"') else {
        return Some(value.to_owned());
    };
    let mut text = String::new();
    let mut letters = inner.chars();
    loop {
        match letters.next()? {
            '"' => return Some(text),
            '\\' => text.push(letters.next()?),
            letter => text.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // 3.1, 3.2
    #[test]
    fn reads_the_error_of_the_bearer_challenge_only() {
        for (header, error) in [
            (
                r#"Bearer realm="api", error="invalid_token""#,
                Some("invalid_token"),
            ),
            ("bearer ERROR=invalid_token", Some("invalid_token")),
            (
                r#"Bearer error = "insufficient_scope""#,
                Some("insufficient_scope"),
            ),
            (
                r#"Basic realm="a, error=\"x\"", Bearer error="invalid_token""#,
                Some("invalid_token"),
            ),
            (r#"Bearer realm="x", DPoP error="use_dpop_nonce""#, None),
            (
                r#"DPoP algs="ES256", error="no", Bearer error="yes""#,
                Some("yes"),
            ),
            (r#", ,Negotiate abc==, Bearer , error="late""#, Some("late")),
            (r#"Bearer error="unfinished"#, None),
            (r#"Bearer error="a\"b""#, Some("a\"b")),
            ("", None),
            ("Bearer", None),
            ("=,=\"", None),
        ] {
            assert_eq!(bearer_error(header).as_deref(), error, "{header}");
        }
    }
}
