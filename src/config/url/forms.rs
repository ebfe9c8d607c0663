//! What each scheme's URL says before its `?`, as options of the backend's section.

use super::parts::{Parts, Servers, part, said, servers};
use crate::config::document::{Field, Node};
use crate::config::{address, refused};
use crate::error::Result;

/// `memory://`
pub(in crate::config) fn nothing(parts: &Parts) -> Result<Vec<Field>> {
    match unwanted(parts) {
        Some(part) => Err(refused(format!("a memory URL takes no {part}: write `memory://?max_size=1000`"))),
        None => Ok(Vec::new()),
    }
}

/// The first part that a URL of the memory backend may not have.
fn unwanted(parts: &Parts) -> Option<&'static str> {
    let Parts { address, rest, .. } = parts;
    let authority = address.split(['/', '#']).next().unwrap_or(address);
    let parts = [
        (authority.contains('@'), "user or password"),
        (authority.starts_with(':'), "port"),
        (authority.contains(':'), "host and port"),
        (!authority.is_empty(), "host"),
        (address.starts_with('/'), "path"),
        (rest.contains('#'), "fragment (a `#` in a value is written `%23`)"),
    ];
    parts.iter().find(|(found, _)| *found).map(|(_, part)| *part)
}

/// `redis://user:password@host:port/db`
pub(in crate::config) fn redis(parts: &Parts) -> Result<Vec<Field>> {
    let Servers { mut credentials, hosts, path } = servers(parts)?;
    let (host, port) = address::split(hosts);
    credentials.push(said("host", host));
    credentials.extend(port.map(|port| said("port", port)));
    credentials.extend(database(path)?);
    Ok(credentials)
}

/// `redis+cluster://user:password@host:port,host:port`
pub(in crate::config) fn cluster(parts: &Parts) -> Result<Vec<Field>> {
    let Servers { mut credentials, hosts, path } = servers(parts)?;
    credentials.extend([said("cluster", "true"), said("nodes", hosts)]);
    credentials.extend(database(path)?);
    Ok(credentials)
}

/// `redis+sentinel://user:password@host:port,host:port/master/db`
pub(in crate::config) fn sentinel(parts: &Parts) -> Result<Vec<Field>> {
    let Servers { mut credentials, hosts, path } = servers(parts)?;
    let path = path.strip_prefix('/').unwrap_or(path);
    let (master, database) = path.split_once('/').unwrap_or((path, ""));
    credentials.push(said("sentinels", hosts));
    if !master.is_empty() {
        credentials.push(part("sentinel_master", master)?);
    }
    if !database.is_empty() {
        credentials.push(part("db", database)?);
    }
    Ok(credentials)
}

/// `unix:///a/socket`, with `user:password@` before the path if need be.
pub(in crate::config) fn redis_socket(parts: &Parts) -> Result<Vec<Field>> {
    let Servers { mut credentials, hosts, path } = servers(parts)?;
    check_no_host(hosts)?;
    credentials.push(part("socket_path", path)?);
    Ok(credentials)
}

/// `memcached://user:password@host:port,host:port`
pub(in crate::config) fn memcached(parts: &Parts) -> Result<Vec<Field>> {
    let Servers { mut credentials, hosts, path } = servers(parts)?;
    if !matches!(path, "" | "/") {
        return Err(refused("a memcached URL takes no path; a socket is `memcached+unix:///a/socket`"));
    }
    credentials.push(said("servers", hosts));
    Ok(credentials)
}

/// `memcached+unix:///a/socket`
pub(in crate::config) fn memcached_socket(parts: &Parts) -> Result<Vec<Field>> {
    let Servers { mut credentials, hosts, path } = servers(parts)?;
    check_no_host(hosts)?;
    let mut socket = part("servers", path)?;
    // A pair, for a path may hold spaces and commas.
    socket.node = Node::List(vec![Node::List(vec![socket.node, Node::Number("1".to_owned())])]);
    credentials.push(socket);
    Ok(credentials)
}

fn database(path: &str) -> Result<Option<Field>> {
    match path.strip_prefix('/') {
        None | Some("") => Ok(None),
        Some(text) => part("db", text).map(Some),
    }
}

fn check_no_host(hosts: &str) -> Result<()> {
    if hosts.is_empty() {
        Ok(())
    } else {
        Err(refused("the URL of a socket has no host: its path follows `://`, as in `:///a/socket`"))
    }
}
