//! `medallion check --explain`: what a finding's code means. Reads no spec.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::Error;
use super::check::{Check, Format, answer};
use crate::finding::{Code, closest, explain};

pub(super) fn run(check: &Check) -> Result<ExitCode, Error> {
    let asked = check.explain.as_deref().unwrap_or_default().to_ascii_uppercase();
    let code = Code::ALL.iter().copied().find(|code| code.number() == asked);
    if code.is_none() && !asked.is_empty() {
        let near = closest(&asked, Code::ALL.iter().map(|code| code.number()));
        let remedy = match near {
            Some(near) => format!("did you mean `{near}`? `medallion check --explain` lists them all"),
            None => "`medallion check --explain` lists them all".to_owned(),
        };
        return Err(Error::new(format!("no finding has the code `{asked}`"), remedy));
    }
    answer(&match (check.format, code) {
        (Format::Human, Some(code)) => explain::told(code),
        (Format::Human, None) => explain::listed(),
        (Format::Json, Some(code)) => format!("{:#}\n", as_json(code)),
        (Format::Json, None) => {
            format!("{:#}\n", Code::ALL.iter().map(|code| as_json(*code)).collect::<Value>())
        }
    });
    Ok(ExitCode::SUCCESS)
}

fn as_json(code: Code) -> Value {
    json!({ "code": code.number(), "meaning": code.meaning(), "explanation": code.explanation() })
}
