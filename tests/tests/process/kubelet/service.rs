//! A Service of Kubernetes: an address of this machine behind which are the pods that it selects, one after the other
//! for each connection.

use super::container::Container;
use crate::cluster::own_address;
use serde_json::{Map, Value};
use std::io;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::thread::spawn;

pub(super) struct Service {
    listener: TcpListener,
    port: u16,
    selector: Map<String, Value>,
    /// How many connections there have been.
    turn: usize,
}

impl Service {
    /// One that the API server has, for one of its ports. It has an address of its own.
    pub(super) fn new(service: &Value, port: u16) -> Service {
        let spec = &service["spec"];
        let mut ports = spec["ports"].as_array().unwrap().iter();
        assert!(ports.any(|one| one["port"] == port), "{spec} has no {port}");
        let listener = TcpListener::bind((own_address(), port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        Service {
            listener,
            port,
            selector: spec["selector"].as_object().unwrap().clone(),
            turn: 0,
        }
    }

    /// `HOST:PORT`.
    pub(super) fn address(&self) -> String {
        self.listener.local_addr().unwrap().to_string()
    }

    /// Leads everybody who has come meanwhile to one of these.
    pub(super) fn serve<'a>(&mut self, containers: impl Iterator<Item = &'a Container>) {
        let selected = containers.filter(|one| one.is_reached_by(&self.selector));
        let ips: Vec<_> = selected.map(|one| one.ip).collect();
        while let Ok((client, _)) = self.listener.accept() {
            self.turn += 1;
            let ip = ips.get(self.turn % ips.len().max(1));
            // Without a pod, or one that listens, the connection ends.
            let _ = ip.map(|ip| lead(client, *ip, self.port));
        }
    }
}

/// Passes on what both ends say, until one of them says no more.
fn lead(client: TcpStream, ip: Ipv4Addr, port: u16) -> io::Result<()> {
    client.set_nonblocking(false)?;
    let server = TcpStream::connect((ip, port))?;
    let (to_client, from_server) = (client.try_clone()?, server.try_clone()?);
    for (mut from, mut to) in [(client, server), (from_server, to_client)] {
        spawn(move || {
            // Whoever is at the other end sees it, too.
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
    Ok(())
}
