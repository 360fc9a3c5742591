//! Which URLs may carry the token, and which are the auth endpoints themselves.

/// The origins that may receive the token, and the endpoints that never refresh themselves.
///
/// Every URL here is one that a WHATWG URL parser has serialised: scheme and host in lower case,
/// default port dropped, no user info. So an exact prefix up to and including the first `/` of the
/// path is an exact origin, and lookalikes (`https://api.example.com.evil/`) differ in it
/// (behaviour.md 4.17, 6.6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    prefixes: Vec<String>,
    endpoints: Vec<String>,
}

impl Origins {
    /// Origins such as `https://api.example.com`, and full endpoint URLs.
    pub fn new(origins: &[String], endpoints: Vec<String>) -> Self {
        let mut prefixes: Vec<String> = Vec::with_capacity(origins.len());
        for origin in origins {
            let prefix = [origin.as_str(), "/"].concat();
            if !prefixes.contains(&prefix) {
                prefixes.push(prefix);
            }
        }
        Self {
            prefixes,
            endpoints,
        }
    }

    /// What a URL must start with to carry the token, e.g. `https://api.example.com/`.
    pub fn prefixes(&self) -> &[String] {
        &self.prefixes
    }

    /// Whether a request to this URL may carry the token.
    pub fn allows(&self, url: &str) -> bool {
        self.prefixes
            .iter()
            .any(|prefix| url.starts_with(prefix.as_str()))
    }

    /// Whether this URL is one of the auth endpoints: a 401 from it is its own business
    /// (behaviour.md 3.9). The query does not matter.
    pub fn is_endpoint(&self, url: &str) -> bool {
        let url = without_query(url);
        self.endpoints
            .iter()
            .any(|endpoint| without_query(endpoint) == url)
    }
}

/// Whether tokens may travel to this origin at all: https, or http to this machine itself
/// (RFC 6750 §5.3, behaviour.md 4.26).
pub fn is_secure(origin: &str) -> bool {
    let Some(rest) = origin.strip_prefix("http://") else {
        return origin.starts_with("https://");
    };
    let host = match rest.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => rest,
    };
    matches!(host, "localhost" | "127.0.0.1" | "[::1]") || host.ends_with(".localhost")
}

fn without_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    // 6.6, known-failures 49
    #[test]
    fn lookalikes_get_no_token() {
        let origins = Origins::new(&["https://api.example.com".to_owned()], vec![]);
        assert!(origins.allows("https://api.example.com/v1?x=1"));
        for url in [
            "https://api.example.com.evil/",
            "https://api.example.com@evil/",
            "https://apixexample.com/",
            "https://api.example.com:8443/",
            "http://api.example.com/",
            "https://api.example.com./",
            "https://evil/https://api.example.com/",
            "https://example.com/",
            "blob:https://api.example.com/1",
            "",
        ] {
            assert!(!origins.allows(url), "{url}");
        }
    }

    // 4.26
    #[test]
    fn only_this_machine_may_be_plain_http() {
        for origin in [
            "https://a",
            "http://localhost",
            "http://localhost:8080",
            "http://127.0.0.1:1",
            "http://[::1]:80",
        ] {
            assert!(is_secure(origin), "{origin}");
        }
        for origin in [
            "http://example.com",
            "http://127.0.0.1.evil",
            "ws://localhost",
            "http://localhost.evil:80",
            "null",
            "",
        ] {
            assert!(!is_secure(origin), "{origin}");
        }
    }

    // 3.9
    #[test]
    fn endpoints_are_found_without_their_query() {
        let origins = Origins::new(
            &[],
            vec!["https://a/token?grant_type=refresh_token".to_owned()],
        );
        assert!(origins.is_endpoint("https://a/token"));
        assert!(!origins.is_endpoint("https://a/tokens"));
    }
}
