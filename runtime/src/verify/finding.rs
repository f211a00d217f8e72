//! A row that breaks a law: which key, from when on, what stands and what should.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

/// How many findings of a law are shown.
pub const SHOWN: usize = 5;

/// A row that breaks a law.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// Its key, or its grain.
    pub key: Map<String, Value>,
    /// Since when it is so, in system time; marts have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Until when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// What stands there; nothing where something is missing.
    pub stands: Option<Map<String, Value>>,
    /// What should; nothing where something is too much.
    pub should: Option<Map<String, Value>>,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key: Vec<String> =
            self.key.iter().map(|(name, value)| format!("{name} {}", shown(value))).collect();
        write!(formatter, "{}", key.join(", "))?;
        if let Some(since) = &self.since {
            write!(formatter, " from {since}")?;
        }
        if let Some(until) = &self.until
            && until != "infinity"
        {
            write!(formatter, " to {until}")?;
        }
        match (&self.stands, &self.should) {
            (Some(stands), Some(should)) => {
                let differs: Vec<String> = should
                    .iter()
                    .filter(|(name, value)| stands.get(*name) != Some(value))
                    .map(|(name, value)| {
                        let stands = stands.get(name).map_or_else(|| "nothing".to_owned(), shown);
                        format!("{name} is {stands} and should be {}", shown(value))
                    })
                    .collect();
                match differs.is_empty() {
                    true => write!(formatter, ": equal values of another image"),
                    false => write!(formatter, ": {}", differs.join(", ")),
                }
            }
            (Some(stands), None) => write!(formatter, ": should not be there: {}", row(stands)),
            (None, Some(should)) => write!(formatter, ": is missing: {}", row(should)),
            (None, None) => Ok(()),
        }
    }
}

fn row(values: &Map<String, Value>) -> String {
    let values: Vec<String> = values.iter().map(|(name, value)| format!("{name} {}", shown(value))).collect();
    values.join(", ")
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        other => other.to_string(),
    }
}
