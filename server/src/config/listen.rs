//! The section `[listen]`: the addresses of the two listeners, and the rules for connections to them.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

use super::reader::Reader;
use super::setting::Setting;
use crate::http::listener::Addresses;
use crate::http::places::Connections;

/// An hour.
const KEEP_ALIVE_SECONDS_MAX: u64 = 3_600;

/// Proxies in front of one tapgate.
const TRUSTED_PROXIES_MAX: usize = 64;

pub(super) fn listen(reader: &mut Reader<'_>) -> Addresses {
    let public = reader.value("listen.public", socket_address).unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8480)));
    let admin = reader.value("listen.admin", socket_address).unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8481)));
    let same_host = public.ip() == admin.ip() || public.ip().is_unspecified() || admin.ip().is_unspecified();
    if public.port() != 0 && public.port() == admin.port() && same_host {
        let message = format!("collides with the other listener: public is {public}, admin is {admin}");
        // The defaults do not collide.
        if let Some(given) = reader.find("listen.admin").or_else(|| reader.find("listen.public")) {
            reader.report(&given, message);
        }
    }
    Addresses { public, admin }
}

pub(super) fn connections(reader: &mut Reader<'_>) -> Connections {
    let default = Connections::default();
    let keep_alive = reader.value("listen.keep_alive_seconds", |setting| setting.integer(1..=KEEP_ALIVE_SECONDS_MAX));
    let trusted = reader.list("listen.trusted_proxies", TRUSTED_PROXIES_MAX, |reader, item| {
        let network =
            item.parsed(|text| network(text).ok_or("must be an IP address, or a network such as 10.0.0.0/24"));
        reader.judge(item, network)
    });
    Connections {
        keep_alive: keep_alive.map_or(default.keep_alive, Duration::from_secs),
        trusted: trusted.unwrap_or_default(),
    }
}

fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

fn socket_address(setting: &Setting<'_>) -> Result<SocketAddr, String> {
    setting.parsed(|text| text.parse().map_err(|_| "must be an IP address and a port, such as 127.0.0.1:8480"))
}
