//! The configuration page of the guide contains the table of options.

#[test]
fn the_page_has_the_reference_that_the_code_makes() {
    let page = include_str!("../src/guide/configuration.md");
    let reference = yokedcache::config::reference();
    assert!(page.contains(&reference), "put this into src/guide/configuration.md:\n{reference}");
}
