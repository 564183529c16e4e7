//! The tables of the README are those of the committed result file, to the letter.

use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn the_readme_shows_the_committed_results() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut table = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    let made = table.arg("table").arg(root.join("results/compare.json")).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let made = String::from_utf8(made.stdout).unwrap();
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let (_, rest) = readme.split_once("<!-- results: begin -->\n").unwrap();
    let (shown, _) = rest.split_once("<!-- results: end -->").unwrap();
    assert_eq!(shown.trim(), made.trim(), "put the output of `loadtest table` into README.md");
}
