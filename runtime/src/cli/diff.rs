//! `warehouse diff`: what became different between two times, a row each, with the changes that made it so.

use medallion_verbs::diff::{Arguments, Format};
use serde::Serialize;
use serde_json::value::RawValue;

use super::Outcome;
use crate::descriptor::Warehouse;
use crate::diff::{self, Cause, Difference, Question, Row, State};
use crate::error::{During as _, Result};
use crate::place::Place;
use crate::progress::{Lines, Progress as _, count};

pub async fn run(warehouse: &Warehouse, arguments: &Arguments) -> Result<Outcome> {
    let place = Place::find(warehouse)?;
    let question = Question {
        relation: &arguments.relation,
        from: &arguments.from,
        to: &arguments.to,
        limit: arguments.limit,
    };
    let difference = diff::diff(warehouse, &place, &question).await?;
    if !difference.unread.is_empty() {
        let unread: Vec<String> = difference.unread.iter().map(|name| format!("`{name}`")).collect();
        Lines.warn(&format!(
            "the changes that made the difference are not told: this role may not read {}",
            unread.join(", ")
        ));
    }
    super::answer(&match arguments.format {
        Format::Human => human(&difference),
        Format::Json => {
            let text = serde_json::to_string_pretty(&as_json(&difference));
            text.during(|| "cannot write JSON".to_owned())? + "\n"
        }
    })?;
    Ok(Outcome::Done)
}

fn human(difference: &Difference) -> String {
    let counted = difference.counted;
    let mut text = format!("{} from {} to {}: ", difference.relation, difference.from, told(&difference.to));
    let parts = [(counted.added, "added"), (counted.gone, "gone"), (counted.changed, "changed")];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(rows, _)| *rows > 0)
        .map(|(rows, word)| format!("{} {word}", count(*rows, "row")))
        .collect();
    if parts.is_empty() {
        return text + "nothing differs\n";
    }
    text += &format!("{}\n", parts.join(", "));
    for row in &difference.rows {
        text.push('\n');
        text += &paragraph(difference, row);
    }
    let left = (counted.added + counted.gone + counted.changed).saturating_sub(difference.rows.len() as u64);
    if left > 0 {
        text += &format!("\n… and {}: `--limit` tells more\n", count(left, "more row"));
    }
    text
}

/// Whatever is current lasts until now: the last moment of all, which east of Greenwich is in the year after.
fn told(time: &str) -> &str {
    match time.split_once('-') {
        Some(("294276" | "294277", _)) => "now",
        _ => time,
    }
}

fn paragraph(difference: &Difference, row: &Row) -> String {
    let nothing = State::new();
    let (mark, stands) = match (&row.before, &row.after) {
        (None, Some(after)) => ('+', after),
        (Some(before), None) => ('-', before),
        (Some(_), Some(after)) => ('~', after),
        (None, None) => ('~', &nothing),
    };
    let mut text = format!("{mark} {}\n", pairs(&difference.key, stands));
    let rest: Vec<&String> =
        difference.columns.iter().filter(|column| !difference.key.contains(column)).collect();
    let width = rest.iter().map(|column| column.chars().count()).max().unwrap_or_default();
    for column in rest {
        let value =
            |side: &Option<State>| side.as_ref().map(|row| shown(row.get(column).map(|value| &**value)));
        let line = match (value(&row.before), value(&row.after)) {
            (Some(before), Some(after)) if before != after => format!("{before} → {after}"),
            (Some(_), Some(_)) | (None, None) => continue,
            (Some(one), None) | (None, Some(one)) => one,
        };
        text += &format!("    {column:width$}  {line}\n");
    }
    for (number, cause) in row.causes.iter().enumerate() {
        if !cause.own && (number == 0 || row.causes[number - 1].own) {
            text += "    what is computed together with it:\n";
        }
        text += &format!("    {}\n", line(cause));
    }
    let left = row.caused_by.saturating_sub(row.causes.len() as u64);
    if left > 0 {
        text += &format!("    … and {}\n", count(left, "more change"));
    }
    text
}

fn line(cause: &Cause) -> String {
    let position = cause.lsn.as_deref().unwrap_or("written");
    let key = match &cause.key {
        Some(key) => pairs(&key.keys().cloned().collect::<Vec<String>>(), key),
        None => "all rows".to_owned(),
    };
    format!("{} {position} {} {} {key}", cause.table, cause.time, cause.op)
}

fn pairs(columns: &[String], row: &State) -> String {
    let pairs: Vec<String> = columns
        .iter()
        .map(|column| format!("{column} = {}", shown(row.get(column).map(|value| &**value))))
        .collect();
    pairs.join(", ")
}

fn shown(value: Option<&RawValue>) -> String {
    let json = value.map_or("null", RawValue::get);
    match serde_json::from_str::<Option<String>>(json) {
        Ok(None) => "NULL".to_owned(),
        Ok(Some(text)) => text,
        Err(_) => json.to_owned(),
    }
}

/// A difference, for programs.
#[derive(Serialize)]
struct Told<'a> {
    relation: String,
    from: &'a str,
    to: &'a str,
    #[serde(flatten)]
    counted: diff::Counted,
    rows: Vec<ToldRow<'a>>,
}

#[derive(Serialize)]
struct ToldRow<'a> {
    change: &'static str,
    before: &'a Option<State>,
    after: &'a Option<State>,
    changes: &'a [Cause],
    changes_in_all: u64,
}

fn as_json(difference: &Difference) -> Told<'_> {
    let row = |row: &'_ Row| -> &'static str {
        match (&row.before, &row.after) {
            (None, _) => "added",
            (_, None) => "gone",
            _ => "changed",
        }
    };
    let rows = difference.rows.iter().map(|one| ToldRow {
        change: row(one),
        before: &one.before,
        after: &one.after,
        changes: &one.causes,
        changes_in_all: one.caused_by,
    });
    Told {
        relation: difference.relation.to_string(),
        from: &difference.from,
        to: &difference.to,
        counted: difference.counted,
        rows: rows.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::told;

    #[test]
    fn now_is_now_in_any_zone() {
        for last in [
            "294276-12-31 23:59:59.999999+00",
            "294277-01-01 00:59:59.999999+01",
            "294276-12-31 15:59:59.999999-08",
        ] {
            assert_eq!(told(last), "now");
        }
        assert_eq!(told("2026-01-01 00:00:00+01"), "2026-01-01 00:00:00+01");
    }
}
