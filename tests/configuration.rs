//! The configuration page of the guide has the options of the table. `UPDATE_GUIDE=1 cargo test --test configuration`
//! writes them.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::{env, fs};

use yokedcache::config::{self, Config};

/// The line of the page that the generated part follows.
const MARK: &str = "<!-- The rest of this page is generated: UPDATE_GUIDE=1 cargo test --test configuration -->\n\n";

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/guide/configuration.md")
}

fn page() -> String {
    fs::read_to_string(path()).unwrap()
}

#[test]
fn the_page_has_the_options_of_the_table() {
    let page = page();
    let (written, generated) = page.split_once(MARK).unwrap();
    if env::var_os("UPDATE_GUIDE").is_some() {
        fs::write(path(), format!("{written}{MARK}{}", config::guide())).unwrap();
    } else {
        let same = generated == config::guide();
        assert!(same, "src/guide/configuration.md is outdated: UPDATE_GUIDE=1 cargo test --test configuration");
    }
}

#[test]
fn the_examples_of_the_page_are_accepted() {
    let page = page();
    let mut examples = 0;
    for block in page.split("```").skip(1).step_by(2) {
        let (language, text) = block.split_once('\n').unwrap();
        assert!(["url", "yaml", "json"].contains(&language), "{language}");
        for environment in ["development", "production"] {
            let variables = |name: &str| match name {
                "ENVIRONMENT" => Some(environment.to_owned()),
                "REDIS_PASSWORD" => Some("secret".to_owned()),
                _ => None,
            };
            let config = Config::from_text(text, &variables).unwrap_or_else(|error| panic!("{text}: {error:?}"));
            assert_eq!(config.notes, Vec::<String>::new(), "{text}");
        }
        examples += 1;
    }
    assert_eq!(examples, 3);
}
