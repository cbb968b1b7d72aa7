//! The services that some tests need, real ones: each is started on this machine's loopback, in a temporary
//! folder of its own, as an ordinary user, and is gone with the value that stands for it.

mod daemon;
pub mod etcd;
pub mod helm;
pub mod kubernetes;
pub mod objects;
pub mod postgres;
pub mod proxy;
pub mod zookeeper;

use std::env;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

/// A port of the loopback that is free now.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has free ports");
    let address = listener.local_addr();
    address
        .expect("a socket that listens has an address")
        .port()
}

/// Where `tests/run` keeps what no package has.
fn cache() -> PathBuf {
    let home = || Path::new(&env::var_os("HOME").unwrap_or_default()).join(".cache");
    let cache = env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from);
    cache.join("jobmanager-tests")
}
