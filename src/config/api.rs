//! `[service]`: the control API.

use std::net::SocketAddr;

use super::section::Section;
use crate::model::api::{Api, Listen, Tls};

const HINT: &str = "write an address and a port like \"127.0.0.1:7431\", \"socket\" for the socket alone, or \"\" for no control API";

pub(super) fn read(section: &Section<'_>) -> Api {
    let tls = tls(section);
    let socket = section.path("socket");
    // Who says where the socket lies wants it.
    let unsaid = if cfg!(unix) && section.has("socket") { Listen::Socket } else { Listen::Off };
    let listen = if section.has("listen") { listen(section) } else { Some(unsaid) };
    let socket_group = section.text("socket_group").map(str::to_owned);
    let api = Api { listen: listen.unwrap_or_default(), tls, socket, socket_group };
    if listen.is_some() {
        check_tls(section, &api);
    }
    check_socket(section, &api);
    api
}

fn listen(section: &Section<'_>) -> Option<Listen> {
    let text = section.text("listen")?;
    match text {
        "" => Some(Listen::Off),
        "socket" if cfg!(unix) => Some(Listen::Socket),
        "socket" => {
            let hint = "write an address and a port like \"127.0.0.1:7431\"";
            section.problem("listen", "there is no socket on this system", Some(hint.into()));
            None
        }
        text => {
            let address = text.parse::<SocketAddr>().ok();
            if address.is_none() {
                section.problem("listen", format!("\"{text}\" is no address with a port"), Some(HINT.into()));
            }
            address.map(Listen::Port)
        }
    }
}

fn tls(section: &Section<'_>) -> Option<Tls> {
    let is_there = section.has("tls");
    let table = section.section("tls");
    let (certificate, key) = (table.path("certificate"), table.path("key"));
    table.finish(&[]);
    if !is_there {
        return None;
    }
    let Some((certificate, key)) = certificate.zip(key) else {
        let hint = "write `tls = { certificate = \"server.pem\", key = \"server.key\" }`";
        section.problem("tls", "TLS needs a certificate and its key", Some(hint.into()));
        return None;
    };
    Some(Tls { certificate, key })
}

fn check_tls(section: &Section<'_>, api: &Api) {
    match api.listen {
        Listen::Port(address) if !address.ip().is_loopback() && !section.has("tls") => {
            let message =
                format!("other machines reach {address}: without TLS the token goes there in clear");
            let hint = "write `tls = { certificate = \"server.pem\", key = \"server.key\" }`, or listen on \"127.0.0.1:7431\"";
            section.problem("listen", message, Some(hint.into()));
        }
        // Turned off in so many words, it may be meant for another day: `check` warns of that.
        Listen::Off if section.has("listen") => {}
        Listen::Off | Listen::Socket if section.has("tls") => {
            let hint = "set `listen` to an address and a port like \"127.0.0.1:7431\", or leave `tls` out";
            section.problem("tls", "TLS is for a port, and there is none", Some(hint.into()));
        }
        Listen::Port(_) | Listen::Off | Listen::Socket => {}
    }
}

fn check_socket(section: &Section<'_>, api: &Api) {
    if cfg!(not(unix)) {
        for key in ["socket", "socket_group"] {
            if section.has(key) {
                section.problem(key, "there is no socket on this system", Some("leave it out".into()));
            }
        }
        return;
    }
    if api.socket_group.is_some() && api.socket.is_none() {
        let hint = "say where it lies instead, in a folder that the group may enter: `socket = \"/run/landfall/api.sock\"`";
        section.problem(
            "socket_group",
            "the group cannot enter the data folder, where the socket lies",
            Some(hint.into()),
        );
    }
}
