//! Findings for a program. Says the same as `human`, as data.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{Finding, Label, SourceText};

/// An array with an object a finding.
pub(super) fn render(list: &[Finding], texts: &BTreeMap<Arc<str>, SourceText>) -> Value {
    list.iter().map(|finding| one(finding, texts)).collect()
}

fn one(finding: &Finding, texts: &BTreeMap<Arc<str>, SourceText>) -> Value {
    let mut value = place(&finding.primary, texts);
    value["code"] = json!(finding.code.number());
    value["message"] = json!(finding.message);
    value["help"] = json!(finding.remedies);
    let line = |(place, line): &(String, String)| json!({ "where": place, "line": line });
    value["paste"] = finding.lines.iter().map(line).collect();
    value["also"] = finding.secondary.iter().map(|label| place(label, texts)).collect();
    value
}

fn place(label: &Label, texts: &BTreeMap<Arc<str>, SourceText>) -> Value {
    let mut value = json!({ "file": &*label.span.path, "label": label.text });
    if let Some(text) = texts.get(&label.span.path) {
        let start = text.position(label.span.start);
        let end = text.position(label.span.end);
        value["line"] = json!(start.line);
        value["column"] = json!(start.column);
        value["end"] = json!({ "line": end.line, "column": end.column });
    }
    value
}
