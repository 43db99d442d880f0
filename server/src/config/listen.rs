//! The section `[listen]`: the addresses of the two listeners.

use std::net::SocketAddr;

use super::reader::Reader;
use super::setting::Setting;
use crate::http::listener::Addresses;

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

fn socket_address(setting: &Setting<'_>) -> Result<SocketAddr, String> {
    setting.parsed(|text| text.parse().map_err(|_| "must be an IP address and a port, such as 127.0.0.1:8480"))
}
