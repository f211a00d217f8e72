//! Any text is a spec or has findings, which lie in the text; and of any spec without findings comes SQL that can be
//! read.

use medallion::emit::{self, Workspace};
use medallion::finding::{Colour, Findings, SourceText};
use medallion::model;
use medallion::spec::Files;
use squawk_syntax::SourceFile;

/// What stands between the texts of one warehouse: none of them may have it.
const BETWEEN: u8 = 0;

/// `spec.toml`, and behind a zero byte each `demo.toml`, a unit test, and the SQL file `mart.sql`.
pub fn spec(bytes: &[u8]) {
    let mut texts = bytes.splitn(4, |byte| *byte == BETWEEN);
    let mut next = |path: &str| texts.next().map(|text| SourceText::new(path, text));
    let Some(text) = next("spec.toml") else { return };
    let mut files = Files::alone("shop", text);
    files.demo = next("demo.toml").filter(|text| !text.text().is_empty());
    files.unit_tests.extend(next("tests/one.toml").filter(|text| !text.text().is_empty()));
    files.sql.extend(next("mart.sql").map(|text| ("mart.sql".to_owned(), text)));
    match model::load(&files) {
        Err(findings) => are_told(&files, &findings),
        Ok(warehouse) => {
            let name = warehouse.name.clone();
            let emitted = emit::emit(&warehouse, &Workspace { warehouses: vec![name], default: None });
            for (path, sql) in emitted.iter().filter(|(path, _)| path.ends_with("up.sql")) {
                let errors = SourceFile::parse(sql).errors();
                assert!(errors.is_empty(), "{path} cannot be read: {errors:?}");
            }
        }
    }
}

/// Each finding has a reason and places that are there.
fn are_told(files: &Files, findings: &Findings) {
    assert!(!findings.list().is_empty(), "a spec is refused for a reason");
    for finding in findings.list() {
        assert!(!finding.message.is_empty(), "{finding:?}");
        for label in std::iter::once(&finding.primary).chain(&finding.secondary) {
            let span = &label.span;
            let Some(text) = files.texts().find(|text| text.path() == span.path) else {
                panic!("the finding is in no file of the spec: {finding:?}");
            };
            let there = text.text().get(span.start..span.end);
            assert!(
                there.is_some() || text.broken_at().is_some(),
                "it lies outside of the text: {finding:?}"
            );
        }
    }
    // What is shown does nothing to a terminal.
    let shown = findings.human(Colour::Plain);
    assert!(!shown.contains(|it: char| it.is_control() && it != '\n'), "{shown:?}");
    let _ = findings.human(Colour::Ansi);
    let _ = findings.json();
}
