//! The README's configuration reference is the table of options.

#[test]
fn the_readme_has_the_reference_that_the_code_makes() {
    let readme = include_str!("../README.md");
    let reference = yokedcache::config::reference();
    assert!(readme.contains(&reference), "put this into README.md:\n{reference}");
}
