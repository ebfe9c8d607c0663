//! The options of TLS, for every backend on servers.

use super::section::Section;
use crate::config::kind::Choices;
use crate::config::kind::Kind::{Choice, Flag, Path};
use crate::config::row::{Row, row};
use crate::config::{TlsConfig, Verify, refused};
use crate::error::Result;

/// What the rows fill.
#[derive(Clone, PartialEq)]
pub(super) struct Options {
    on: bool,
    config: TlsConfig,
}

/// Options before the rows fill them.
pub(super) const UNFILLED: Options = Options {
    on: false,
    config: TlsConfig {
        ca_file: None,
        cert_file: None,
        key_file: None,
        verify: Verify::Required,
        check_hostname: true,
    },
};

const VERIFY: Choices<Options> = &[
    ("required", |t| t.config.verify = Verify::Required),
    ("optional", |t| t.config.verify = Verify::Optional),
    ("none", |t| t.config.verify = Verify::None),
];

#[rustfmt::skip]
pub(super) const TLS: &[Row<Options>] = &[
    row("ssl tls", Flag(|t, on| t.on = on), "false", "Connects by TLS; a URL says it with `rediss://` or `memcacheds://`. The other `ssl_` options are refused without it."),
    row("ssl_ca_certs", Path(|t| &mut t.config.ca_file), "", "A PEM file of the authorities to trust, in place of the system's. A server's own certificate in it is trusted for itself, also a self-signed one."),
    row("ssl_certfile", Path(|t| &mut t.config.cert_file), "", "A PEM file with the client's certificate; given together with its key."),
    row("ssl_keyfile", Path(|t| &mut t.config.key_file), "", "A PEM file with the key of the client's certificate, without a password (`openssl pkey` removes one)."),
    row("ssl_cert_reqs", Choice(VERIFY), "required", "What is asked of the server's certificate. `none` accepts every certificate and does not check that the server holds its key: anybody in between can read and change what is sent."),
    row("ssl_check_hostname", Flag(|t, on| t.config.check_hostname = on), "true", "The server's certificate has to name the host; `ssl_cert_reqs: none` checks nothing."),
];

/// What the options say together.
pub(super) fn config(options: Options, section: &Section) -> Result<Option<TlsConfig>> {
    let mut details = TLS.iter().map(Row::name).filter(|name| *name != "ssl").filter_map(|name| section.given(name));
    match details.next() {
        Some(detail) if !options.on => Err(refused(format!(
            "option {} is for TLS, which is off: give `ssl: true` or a URL of TLS",
            detail.label()
        ))),
        _ => {
            check_pair(section)?;
            Ok(options.on.then_some(options.config))
        }
    }
}

/// A certificate is of no use without its key.
fn check_pair(section: &Section) -> Result<()> {
    match (section.given("ssl_certfile"), section.given("ssl_keyfile")) {
        (Some(_), None) => section.check_needs("ssl_certfile", "ssl_keyfile"),
        (None, Some(_)) => section.check_needs("ssl_keyfile", "ssl_certfile"),
        _ => Ok(()),
    }
}
