//! `WWW-Authenticate`, as far as a 401 needs it (behaviour.md 3.1 to 3.5).

/// The `error` parameter of the Bearer challenge in a `WWW-Authenticate` value, if it is there.
///
/// Reads RFC 9110 §11.6.1 lists: several challenges, quoted strings with commas and quoted pairs,
/// token68 values, empty elements. Errors of other schemes are theirs. What cannot be read is ignored.
pub fn bearer_error(header: &str) -> Option<String> {
    let (mut in_bearer, mut error) = (false, None);
    for element in elements(header) {
        let (head, value) = match element.split_once('=') {
            Some((head, value)) if !head.trim().is_empty() => (head.trim(), Some(value.trim())),
            _ => (element, None),
        };
        // `Bearer error="x"` starts a challenge; `error="x"` goes on with the one before.
        let mut words = head.split_ascii_whitespace();
        let (first, second) = (words.next()?, words.next());
        let goes_on = second.is_none() && value.is_some();
        if !goes_on {
            if error.is_some() {
                return error;
            }
            in_bearer = first.eq_ignore_ascii_case("bearer");
        }
        let Some(value) = value.filter(|_| in_bearer) else {
            continue;
        };
        let Some(text) = unquote(value) else {
            // A challenge that is broken in one place says nothing in the others.
            (in_bearer, error) = (false, None);
            continue;
        };
        if second.unwrap_or(first).eq_ignore_ascii_case("error") {
            error.get_or_insert(text);
        }
    }
    error
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

/// A token as it is, a quoted-string without quotes and escapes. Without a final quote, or with
/// something after it: nothing.
fn unquote(value: &str) -> Option<String> {
    let Some(inner) = value.strip_prefix('"') else {
        return Some(value.to_owned());
    };
    let mut text = String::new();
    let mut letters = inner.chars();
    loop {
        match letters.next()? {
            '"' => return letters.next().is_none().then_some(text),
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

    // 3.3: what Reschke's cases, and those of oauth4webapi, Mozilla and Chromium, are about
    #[test]
    fn other_challenges_and_odd_spellings_neither_hide_nor_forge_a_bearer_error() {
        let others = [
            "Basic",
            r#"Basic realm="foo""#,
            r#"BASIC REALM="foo""#,
            "Basic realm=foo",
            "Basic realm='foo'",
            r#"Basic , realm="foo""#,
            r#"Basic realm="foo%20bar""#,
            r#"Basic realm="foo", bar="xyz",, a=b,,,c=d"#,
            r#"Basic realm = "foo""#,
            r#"Basic realm="\"foo\"""#,
            r#"Basic realm="f\\oo\\""#,
            r#"Basic realm="foo, error=\"no\"""#,
            r#"Basic foo="error=no", realm="basic""#,
            r#"Basic noterror="no""#,
            r#"Basic realm="=?ISO-8859-1?Q?foo-=E4?=""#,
            r#"Basic realm="foo-ä""#,
            r#"Newauth realm="apps", type=1, title="Login to \"apps\"""#,
            r#"Digest realm="test", qop="auth, auth-int", nonce="abc=""#,
            "NTLM",
            "Negotiate YIIB/wYJKoZIhvcSAQ==",
            "Negotiate abc=",
            "Negotiate abc",
            r#"DPoP algs="ES256 PS256", error="use_dpop_nonce""#,
            r#"Mutual error="no", realm=x"#,
            r#"BearerToken error="no""#,
            "Not-Bearer error=no",
        ];
        let ours = [
            (r#"Bearer error="invalid_token""#, Some("invalid_token")),
            ("bearer error=invalid_token", Some("invalid_token")),
            (r#"BEARER ERROR="invalid_token""#, Some("invalid_token")),
            (
                r#"Bearer realm="a, b", error="invalid_token", error_description="it \"is\", error=no""#,
                Some("invalid_token"),
            ),
            (
                r#"Bearer error_description="error=no", error="invalid_token""#,
                Some("invalid_token"),
            ),
            (
                "Bearer   realm =   \"x\"   ,error\t=\t\"invalid_token\" ,  scope = \" a \"",
                Some("invalid_token"),
            ),
            (
                r#"Bearer realm="x",,, ,error=invalid_token,"#,
                Some("invalid_token"),
            ),
            (r#"Bearer error="in\valid_token""#, Some("invalid_token")),
            (r#"Bearer realm="x", Bearer error="late""#, Some("late")),
            (r#"Bearer error="a", Bearer error="b""#, Some("a")),
            ("Bearer", None),
            (r#"Bearer realm="x""#, None),
            (r#"Bearer foobar="baz", scope="read""#, None),
            (r#"Bearer error_description="bad \\ token""#, None),
        ];
        for (ours, error) in ours {
            assert_eq!(bearer_error(ours).as_deref(), error, "{ours}");
            for other in others {
                let before = [other, ", ", ours].concat();
                let after = [ours, " , ", other].concat();
                let between = [other, ",", ours, ",", other].concat();
                for header in [before, after, between] {
                    assert_eq!(bearer_error(&header).as_deref(), error, "{header}");
                }
            }
        }
    }

    // 3.2, 3.3
    #[test]
    fn a_broken_challenge_is_ignored() {
        for header in [
            ",",
            "  ",
            "%%%%%%%",
            "=",
            "\"",
            "\\",
            r#"error="invalid_token""#,
            r#"  error="invalid_token", error_description="no scheme""#,
            r#"Bearer error"invalid_token""#,
            r#"Bearer realm="unclosed"#,
            r#"Bearer error="unclosed"#,
            r#"Bearer error="bad\escape\""#,
            r#"Bearer error="insufficient_scope", realm="unclosed"#,
            r#"Bearer realm="unclosed, error="invalid_token""#,
            r#"Bearer error="insufficient_scope"junk"#,
            r#"Bearer realm="a"b, error="insufficient_scope""#,
            r#"Basic realm="unclosed, Bearer error=no"#,
        ] {
            assert_eq!(bearer_error(header), None, "{header}");
        }
        // The next one is none the worse for it.
        let next = r#"Bearer realm="a"b, error="no", Bearer error="yes""#;
        assert_eq!(bearer_error(next).as_deref(), Some("yes"));
    }
}
