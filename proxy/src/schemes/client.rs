//! What is known of the client of a request, through the proxies before this one.

use std::net::IpAddr;

use hyper::header::HeaderMap;
use ipnet::IpNet;

/// The address behind the trusted proxies: that of the peer, or, if the peer is trusted, the last one in
/// X-Forwarded-For that is not trusted itself. What stands before that could be invented.
pub(crate) fn address(headers: &HeaderMap, peer: IpAddr, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |ip: &IpAddr| trusted.iter().any(|net| net.contains(ip));
    let mut client = peer.to_canonical();
    let lines: Vec<&str> = headers.get_all("x-forwarded-for").iter().filter_map(|line| line.to_str().ok()).collect();
    let mut hops = lines.iter().rev().flat_map(|line| line.rsplit(','));
    while is_trusted(&client) {
        match hops.next().and_then(|hop| hop.trim().parse::<IpAddr>().ok()) {
            Some(hop) => client = hop.to_canonical(),
            None => break,
        }
    }
    client
}

/// Whether the client speaks TLS to the outermost trusted proxy, which says so in X-Forwarded-Proto.
pub(crate) fn has_tls(headers: &HeaderMap, peer: IpAddr, trusted: &[IpNet]) -> bool {
    let is_trusted = trusted.iter().any(|net| net.contains(&peer.to_canonical()));
    let said = headers.get("x-forwarded-proto").filter(|_| is_trusted);
    said.is_some_and(|proto| {
        proto.as_bytes().eq_ignore_ascii_case(b"https") || proto.as_bytes().eq_ignore_ascii_case(b"wss")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn client(peer: &str, lines: &[&'static str]) -> String {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-forwarded-for", HeaderValue::from_static(line));
        }
        address(&headers, peer.parse().unwrap(), &trusted).to_string()
    }

    #[test]
    fn a_strangers_word_about_others_does_not_count() {
        assert_eq!(client("192.0.2.1", &["198.51.100.1"]), "192.0.2.1");
    }

    #[test]
    fn behind_trusted_proxies_the_last_address_that_is_not_theirs_is_the_client() {
        assert_eq!(client("10.0.0.1", &["203.0.113.9, 198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &["203.0.113.9", "198.51.100.1, 10.0.0.2"]), "198.51.100.1");
        assert_eq!(client("::ffff:10.0.0.1", &["2001:db8::1"]), "2001:db8::1");
    }

    #[test]
    fn a_trusted_proxy_that_says_nothing_is_the_client() {
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["203.0.113.9, nonsense"]), "10.0.0.1");
    }

    #[test]
    fn a_trusted_proxy_says_whether_there_is_tls() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let said = |peer: &str, proto: &'static str| {
            let headers =
                HeaderMap::from_iter([("x-forwarded-proto".parse().unwrap(), HeaderValue::from_static(proto))]);
            has_tls(&headers, peer.parse().unwrap(), &trusted)
        };
        assert!(said("10.0.0.1", "https") && said("10.0.0.1", "WSS"));
        assert!(!said("10.0.0.1", "http") && !said("192.0.2.1", "https"));
    }
}
