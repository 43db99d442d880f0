//! Every kind of address, at both ends of its range.

use super::*;

#[track_caller]
fn check(text: &str, expected: bool) {
    let address: IpAddr = text.parse().unwrap();
    assert_eq!(is_public(address), expected, "{text}");
}

#[test]
fn of_ipv4_only_the_public_internet_is_public() {
    for (network, first, last, neighbours) in [
        ("this network", "0.0.0.0", "0.255.255.255", ["1.0.0.0", "1.1.1.1"]),
        ("private", "10.0.0.0", "10.255.255.255", ["9.255.255.255", "11.0.0.0"]),
        ("carriers", "100.64.0.0", "100.127.255.255", ["100.63.255.255", "100.128.0.0"]),
        ("loopback", "127.0.0.0", "127.255.255.255", ["126.255.255.255", "128.0.0.0"]),
        ("link-local", "169.254.0.0", "169.254.255.255", ["169.253.255.255", "169.255.0.0"]),
        ("private", "172.16.0.0", "172.31.255.255", ["172.15.255.255", "172.32.0.0"]),
        ("protocols", "192.0.0.0", "192.0.0.255", ["191.255.255.255", "192.0.1.0"]),
        ("documentation", "192.0.2.0", "192.0.2.255", ["192.0.1.255", "192.0.3.0"]),
        ("6to4 relays", "192.88.99.0", "192.88.99.255", ["192.88.98.255", "192.88.100.0"]),
        ("private", "192.168.0.0", "192.168.255.255", ["192.167.255.255", "192.169.0.0"]),
        ("benchmarks", "198.18.0.0", "198.19.255.255", ["198.17.255.255", "198.20.0.0"]),
        ("documentation", "198.51.100.0", "198.51.100.255", ["198.51.99.255", "198.51.101.0"]),
        ("documentation", "203.0.113.0", "203.0.113.255", ["203.0.112.255", "203.0.114.0"]),
        ("multicast, reserved", "224.0.0.0", "255.255.255.255", ["223.255.255.255", "8.8.8.8"]),
    ] {
        for inside in [first, last] {
            check(inside, false);
            // An IPv6 address that embeds it gets the same verdict.
            check(&format!("::ffff:{inside}"), false);
            check(&format!("64:ff9b::{inside}"), false);
        }
        for outside in neighbours {
            check(outside, true);
            check(&format!("::ffff:{outside}"), true);
            check(&format!("64:ff9b::{outside}"), true);
        }
        assert!(!network.is_empty());
    }
    for metadata in ["169.254.169.254", "100.100.100.200", "239.255.255.250", "240.0.0.1"] {
        check(metadata, false);
    }
}

#[test]
fn of_ipv6_only_the_public_internet_is_public() {
    for inside in [
        "::",                 // unspecified
        "::1",                // loopback
        "::7f00:1",           // IPv4-compatible, deprecated
        "::8.8.8.8",          // the same of a public address
        "::ffff:0:127.0.0.1", // IPv4-translated (SIIT)
        "64:ff9b:1::1",       // NAT64 of one's own network
        "64:ff9b:1:ffff:ffff:ffff:808:808",
        "100::1",       // discard
        "1fff:ffff::1", // below what is handed out
        "2001::1",      // Teredo
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:2::1",        // benchmarks
        "2001:20::1",       // ORCHID
        "2001:1ff:ffff::1", // the last of the protocol assignments
        "2001:db8::1",      // documentation
        "2002:7f00:1::1",   // 6to4 of loopback
        "2002:808:808::1",  // and of a public address
        "3fff::1",          // documentation
        "3fff:fff:ffff::1",
        "4000::1",       // above what is handed out
        "5f00::1",       // segment routing
        "fc00::1",       // unique local
        "fd00:ec2::254", // a cloud's metadata service
        "fe80::1",       // link-local
        "febf::1",
        "fec0::1", // site-local, deprecated
        "ff02::1", // multicast
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ] {
        check(inside, false);
    }
    for outside in [
        "2000::1",
        "2001:200::1",
        "2001:4860:4860::8888",
        "2001:db7:ffff::1",
        "2001:db9::1",
        "2003::1",
        "2606:4700:4700::1111",
        "2a00:1450:4001::1",
        "3ffe:ffff::1",
        "3fff:1000::1",
        "64:ff9b::808:808",
    ] {
        check(outside, true);
    }
}

#[test]
fn a_url_that_names_an_address_is_judged_by_it_however_it_is_written() {
    let strict = Guard { allow_private: false };
    for url in [
        "https://127.0.0.1/",
        "https://2130706433/", // 127.0.0.1 as one number
        "https://0x7f.1/",     // and in hexadecimal
        "https://0177.0.0.1/", // and in octal
        "https://127.1:8443/", // and abbreviated
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[fd00:ec2::254]/",
        "https://１２７.０.０.１/", // full-width digits
        "https://0/",
    ] {
        let endpoint: Endpoint = url.parse().unwrap();
        assert!(matches!(strict.check(&endpoint), Err(GuardError::Private { .. })), "{url}");
        assert_eq!(Guard { allow_private: true }.check(&endpoint), Ok(()), "{url}");
    }
    for url in ["https://8.8.8.8/", "https://[2606:4700:4700::1111]:8443/x", "https://hooks.example.org/x?y=z"] {
        assert_eq!(strict.check(&url.parse().unwrap()), Ok(()), "{url}");
    }
    let plain: Endpoint = "http://hooks.example.org/".parse().unwrap();
    assert_eq!(strict.check(&plain), Err(GuardError::Plain));
    assert_eq!(Guard { allow_private: true }.check(&plain), Ok(()));
}

#[test]
fn one_private_address_condemns_a_name() {
    let strict = Guard { allow_private: false };
    let at = |text: &str| SocketAddr::new(text.parse().unwrap(), 443);
    assert_eq!(strict.judge("a.example.org", &[at("8.8.8.8"), at("2606:4700::1111")]), Ok(()));
    let mixed = strict.judge("a.example.org", &[at("8.8.8.8"), at("10.0.0.5")]).unwrap_err();
    assert_eq!(
        mixed.to_string(),
        "a.example.org is or has the address 10.0.0.5, which is not public; if that is meant, set deliver.allow_private"
    );
}

#[tokio::test]
async fn a_name_is_resolved_and_judged() {
    let refused = Guard { allow_private: false }.resolve("localhost", 80).await.unwrap_err();
    assert!(matches!(refused, GuardError::Private { .. }), "{refused}");
    let found = Guard { allow_private: true }.resolve("localhost", 80).await.unwrap();
    assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 80));
}

#[test]
fn an_endpoint_is_a_plain_url_and_shows_only_its_host() {
    for text in
        ["hooks.example.org", "ftp://a.example.org", "https://", "https://u:p@a.example.org", "https://a.org/#x"]
    {
        assert_eq!(text.parse::<Endpoint>(), Err(EndpointError), "{text}");
    }
    let endpoint: Endpoint = "https://hooks.example.org:8443/services/T0/B0/secret?k=secret".parse().unwrap();
    assert_eq!(format!("{endpoint:?}"), "Endpoint(https://hooks.example.org/…)");
    assert_eq!(endpoint.with_path("/v2/enqueue").url().path(), "/v2/enqueue");
}
