//! Keeps deliveries out of private networks (server-side request forgery).
//!
//! A person who may configure a URL, or who controls its name in the DNS, must not reach addresses that only this
//! machine can reach. So the guard resolves the host, judges *every* address of it, and the connection goes to a judged
//! address: a name that changes between the two steps cannot pass. Redirects are never followed.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// IPv4 networks that are not the public internet (IANA's special-purpose registry, RFC 6890 and its successors).
const NOT_PUBLIC_V4: [(Ipv4Addr, u32); 15] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),       // this network
    (Ipv4Addr::new(10, 0, 0, 0), 8),      // private
    (Ipv4Addr::new(100, 64, 0, 0), 10),   // shared by carriers (CGNAT)
    (Ipv4Addr::new(127, 0, 0, 0), 8),     // loopback
    (Ipv4Addr::new(169, 254, 0, 0), 16),  // link-local, clouds' metadata services
    (Ipv4Addr::new(172, 16, 0, 0), 12),   // private
    (Ipv4Addr::new(192, 0, 0, 0), 24),    // protocol assignments
    (Ipv4Addr::new(192, 0, 2, 0), 24),    // documentation
    (Ipv4Addr::new(192, 88, 99, 0), 24),  // 6to4 relays, deprecated
    (Ipv4Addr::new(192, 168, 0, 0), 16),  // private
    (Ipv4Addr::new(198, 18, 0, 0), 15),   // benchmarks
    (Ipv4Addr::new(198, 51, 100, 0), 24), // documentation
    (Ipv4Addr::new(203, 0, 113, 0), 24),  // documentation
    (Ipv4Addr::new(224, 0, 0, 0), 4),     // multicast
    (Ipv4Addr::new(240, 0, 0, 0), 4),     // reserved, broadcast
];

/// The allocated part of public IPv6. Loopback, unspecified, unique local, link-local, site-local, multicast and
/// discard addresses lie outside.
const GLOBAL_V6: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// Networks within it that are not public.
const NOT_PUBLIC_V6: [(Ipv6Addr, u32); 4] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23), // protocol assignments: Teredo, benchmarks, ORCHID
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32), // documentation
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16), // 6to4: any IPv4 address, in disguise
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20), // documentation
];

/// NAT64's prefix for IPv4 addresses (RFC 6052): on networks without IPv4 every old host has such an address.
const NAT64: (Ipv6Addr, u32) = (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);

/// Whether an address is public. An address that carries an IPv4 address is judged by that.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !NOT_PUBLIC_V4.iter().any(|network| holds_v4(*network, address)),
        IpAddr::V6(address) => match carried_v4(address) {
            Some(carried) => is_public(carried.into()),
            None => holds_v6(GLOBAL_V6, address) && !NOT_PUBLIC_V6.iter().any(|network| holds_v6(*network, address)),
        },
    }
}

/// The IPv4 address that this IPv6 address leads to, if any.
fn carried_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [.., a, b, c, d] = address.octets();
    let is_nat64 = holds_v6(NAT64, address);
    address.to_ipv4_mapped().or(is_nat64.then(|| Ipv4Addr::new(a, b, c, d)))
}

fn holds_v4((network, bits): (Ipv4Addr, u32), address: Ipv4Addr) -> bool {
    (network.to_bits() ^ address.to_bits()).leading_zeros() >= bits
}

fn holds_v6((network, bits): (Ipv6Addr, u32), address: Ipv6Addr) -> bool {
    (network.to_bits() ^ address.to_bits()).leading_zeros() >= bits
}

/// Reasons to refuse a receiver's URL. A path may hold a token, so messages name only the host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GuardError {
    /// Plain HTTP.
    #[error("must begin with https://, unless deliver.allow_private is set")]
    Plain,
    /// The address is not public.
    #[error("{host} is or has the address {address}, which is not public; if that is meant, set deliver.allow_private")]
    Private {
        /// The host of the URL.
        host: String,
        /// Its first address that is not public.
        address: IpAddr,
    },
    /// The name has no address.
    #[error("{host} cannot be resolved: {reason}")]
    Unresolved {
        /// The host of the URL.
        host: String,
        /// The resolver's error.
        reason: String,
    },
}

/// The policy on receivers' addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    /// Permits private addresses and plain HTTP.
    pub allow_private: bool,
}

impl Guard {
    /// Judges the URL itself. A name is judged when it is resolved; a literal address is never resolved, so call this
    /// before using a URL.
    ///
    /// # Errors
    /// The URL is not permitted.
    pub fn check(self, endpoint: &Endpoint) -> Result<(), GuardError> {
        if endpoint.0.scheme() != "https" && !self.allow_private {
            return Err(GuardError::Plain);
        }
        let host = endpoint.host();
        match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            Ok(address) => self.judge(host, &[SocketAddr::new(address, 0)]),
            Err(_) => Ok(()),
        }
    }

    /// The addresses of a host, all of them judged.
    ///
    /// # Errors
    /// The host has no address, or one of them is not public.
    pub async fn resolve(self, host: &str, port: u16) -> Result<Vec<SocketAddr>, GuardError> {
        let unresolved = |reason: String| GuardError::Unresolved { host: host.to_owned(), reason };
        let found = tokio::net::lookup_host((host, port)).await.map_err(|error| unresolved(error.to_string()))?;
        let addresses: Vec<_> = found.collect();
        if addresses.is_empty() {
            return Err(unresolved("it has no address".to_owned()));
        }
        self.judge(host, &addresses)?;
        Ok(addresses)
    }

    /// One address that is not public condemns the host: a name that mixes both kinds is malicious.
    fn judge(self, host: &str, addresses: &[SocketAddr]) -> Result<(), GuardError> {
        let private = addresses.iter().map(SocketAddr::ip).find(|address| !self.allow_private && !is_public(*address));
        private.map_or(Ok(()), |address| Err(GuardError::Private { host: host.to_owned(), address }))
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = *self;
        Box::pin(async move {
            // The client sets the port.
            let addresses = Guard::resolve(guard, name.as_str(), 0).await?;
            Ok::<Addrs, _>(Box::new(addresses.into_iter()))
        })
    }
}

/// A receiver's URL. `Debug` shows only the host: path and query may hold a token.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

/// Reasons to reject an endpoint. No message repeats the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be https://, a host, and at most a port, a path and a query; no user and no fragment")]
pub struct EndpointError;

impl Endpoint {
    /// The host as in the URL; an IPv6 address in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// The address of a path below this one; its segments are percent-encoded.
    #[must_use]
    pub fn below(&self, segments: &[String]) -> Endpoint {
        let mut url = self.0.clone();
        // An http(s) URL always has a path.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        Endpoint(url)
    }

    /// Scheme, host and a non-default port: the parts that may be shown.
    #[must_use]
    pub fn origin(&self) -> String {
        self.0.origin().ascii_serialization()
    }

    /// The full URL, only to be called.
    #[must_use]
    pub(in crate::delivery) fn url(&self) -> &Url {
        &self.0
    }

    /// The same host and port with another path.
    #[must_use]
    pub(in crate::delivery) fn with_path(&self, path: &str) -> Endpoint {
        let mut url = self.0.clone();
        url.set_path(path);
        Endpoint(url)
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Endpoint, EndpointError> {
        let url: Url = text.parse().map_err(|_| EndpointError)?;
        let is_plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        let is_http = matches!(url.scheme(), "https" | "http") && url.has_host();
        if is_plain && is_http { Ok(Endpoint(url)) } else { Err(EndpointError) }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({}://{}/…)", self.0.scheme(), self.host())
    }
}

#[cfg(test)]
mod tests;
