//! Tests of the sources of credentials.

use std::fs;

use super::*;

/// A path for a test, which is removed when this is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("yokedcache-{}-{name}", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
        let _ = fs::remove_dir(&self.0);
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn a_password_file_is_read_each_time_without_its_line_end() {
    let scratch = Scratch::new("password");
    let path = &scratch.0;
    let source = CredentialSource::new(Some(&"app".to_owned()), None, Some(path));
    for (text, password) in [("one\n", "one"), ("two\r\n", "two"), ("three", "three"), (" a b \n\n", " a b \n")] {
        fs::write(path, text).unwrap();
        let got = runtime().block_on(source.get(Duration::ZERO)).unwrap().unwrap();
        assert_eq!((got.username.as_deref(), got.password.expose()), (Some("app"), password));
    }
}

#[test]
fn a_password_file_that_is_no_use_is_an_error_with_its_path_and_cause() {
    let scratch = Scratch::new("no-password");
    let path = &scratch.0;
    let source = CredentialSource::new(None, None, Some(path));
    let fails_for = |why: &str| {
        let error = runtime().block_on(source.get(Duration::ZERO)).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Auth);
        assert!(error.message().contains(path.to_str().unwrap()) && error.message().contains(why), "{error}");
        assert!(!error.message().contains("c4n4ry"), "{error}");
    };
    fails_for("No such file");
    for (bytes, why) in [(&b""[..], "empty"), (b"\n", "empty"), (b"c4n4ry\xff", "UTF-8"), (&[b'a'; 70_000], "65536")] {
        fs::write(path, bytes).unwrap();
        fails_for(why);
    }
    fs::remove_file(path).unwrap();
    fs::create_dir(path).unwrap();
    fails_for("directory");
}
