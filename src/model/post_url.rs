//! Where JSON is posted to.

use std::fmt;

/// Where JSON is posted to. Shown without what may be secret in it.
#[derive(Clone, PartialEq, Eq)]
pub struct PostUrl {
    /// `https`.
    pub is_tls: bool,
    /// A name, or an address without brackets.
    pub host: String,
    /// Of the host.
    pub port: u16,
    /// As it stands in the request's `Host`.
    pub authority: String,
    /// Path and query, as they stand in the request.
    pub path: String,
}

impl PostUrl {
    /// What is wrong with a text that is none.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.chars().any(|c| c.is_ascii_control() || c == ' ' || !c.is_ascii()) {
            return Err("a URL is of ASCII characters without spaces: write others as %XX");
        }
        let (is_tls, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err("a URL begins with `https://` or `http://`"),
        };
        let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err(
                "a URL with a user or a password in it is not taken: put the token into a file, as `bearer_file`",
            );
        }
        let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':').or((port.is_empty()).then_some(""))),
            None if authority.contains(['[', ']']) => (authority, None),
            None => match authority.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, Some("")),
            },
        };
        let default = if is_tls { 443 } else { 80 };
        let port = match port {
            Some("") => Some(default),
            Some(digits) => digits.parse().ok().filter(|port| *port > 0),
            None => None,
        };
        let port = port.ok_or("what stands behind the host is no port: a number from 1 to 65535")?;
        if host.is_empty() {
            return Err("a URL names a host");
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { is_tls, host: host.to_owned(), port, authority: authority.to_owned(), path })
    }

    /// Whether it stays on this machine.
    pub fn is_loopback(&self) -> bool {
        let address = self.host.parse::<core::net::IpAddr>();
        self.host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
    }
}

/// Without path and query: tokens are in them with many receivers.
impl fmt::Display for PostUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}/…", self.authority)
    }
}

/// The same.
impl fmt::Debug for PostUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_and_shown_without_what_may_be_secret() {
        let url =
            PostUrl::parse("https://hooks.example:8443/services/T0/secret?token=secret#x").expect("is one");
        assert_eq!((url.is_tls, url.host.as_str(), url.port), (true, "hooks.example", 8443));
        assert_eq!(url.path, "/services/T0/secret?token=secret");
        assert_eq!(
            (url.to_string(), format!("{url:?}").contains("secret")),
            ("https://hooks.example:8443/…".into(), false)
        );
        let plain = PostUrl::parse("http://[::1]:80").expect("is one");
        assert_eq!((plain.host.as_str(), plain.port, plain.path.as_str()), ("::1", 80, "/"));
        assert!(plain.is_loopback() && !url.is_loopback());
        assert_eq!(PostUrl::parse("http://localhost?a=b").expect("is one").path, "/?a=b");
    }

    #[test]
    fn what_is_no_url_or_has_a_secret_where_it_would_be_logged_is_refused() {
        for text in [
            "ftp://a",
            "a.example",
            "https://",
            "https://a:0/",
            "https://a:b/",
            "http://[::1",
            "https://u:p@a/",
            "https://a/ b",
            "https://ä/",
        ] {
            assert!(PostUrl::parse(text).is_err(), "{text}");
        }
    }
}
