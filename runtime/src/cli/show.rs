//! `warehouse show`: what there is to know of a relation.

use medallion_verbs::show::{Arguments, Format};
use serde_json::{Value, json};

use super::Outcome;
use crate::descriptor::{Name, Warehouse};
use crate::error::{During as _, Result};
use crate::place::Place;
use crate::progress::count;
use crate::select::{self, Selection};
use crate::show::{self, Planned, Shown};

pub async fn run(warehouse: &Warehouse, arguments: &Arguments) -> Result<Outcome> {
    let selection = Selection { select: arguments.select.clone(), exclude: Vec::new() };
    let selected = select::relations(warehouse, &selection)?;
    let place = Place::find(warehouse)?;
    let planned = if arguments.analyze { Planned::AndRun } else { Planned::Only };
    let mut all = Vec::new();
    for name in &selected {
        all.push(show::show(warehouse, &place, name, planned).await?);
    }
    super::answer(&match arguments.format {
        Format::Human => all.iter().map(page).collect::<Vec<String>>().join("\n"),
        Format::Json => {
            let all: Value = all.iter().map(as_json).collect();
            serde_json::to_string_pretty(&all).during(|| "cannot write JSON".to_owned())? + "\n"
        }
    })?;
    Ok(Outcome::Done)
}

fn page(shown: &Shown) -> String {
    let mut text = format!("{} ({})\n", shown.name, shown.kind.word());
    let names = |names: &[Name]| names.iter().map(ToString::to_string).collect::<Vec<String>>().join(", ");
    let said =
        [("tags", shown.tags.join(", ")), ("reads", names(&shown.reads)), ("read by", names(&shown.read_by))];
    for (word, said) in said.iter().filter(|(_, said)| !said.is_empty()) {
        text += &format!("{word}: {said}\n");
    }
    text += &section("strategy", shown.strategy.iter().map(String::as_str));
    let width = shown.columns.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    let columns: Vec<String> =
        shown.columns.iter().map(|(name, from)| format!("{name:width$}  {from}")).collect();
    text += &section("columns", columns.iter().map(String::as_str));
    text += &section("SQL", shown.sql.iter().flat_map(|sql| sql.lines()));
    let costs: Vec<String> = shown
        .costs
        .iter()
        .map(|cost| {
            let rows = count(u64::try_from(cost.rows).unwrap_or_default(), "row");
            format!("{}  {rows} in {:.2}s", cost.began, cost.seconds)
        })
        .collect();
    text += &section("last runs", costs.iter().map(String::as_str));
    text + &section("plan", shown.plan.iter().map(String::as_str))
}

fn section<'a>(title: &str, lines: impl Iterator<Item = &'a str>) -> String {
    let lines: String = lines.map(|line| format!("  {line}").trim_end().to_owned() + "\n").collect();
    if lines.is_empty() { String::new() } else { format!("\n{title}\n{lines}") }
}

fn as_json(shown: &Shown) -> Value {
    let names = |names: &[Name]| names.iter().map(ToString::to_string).collect::<Vec<String>>();
    let columns: Vec<Value> =
        shown.columns.iter().map(|(name, from)| json!({ "name": name, "from": from })).collect();
    let costs: Vec<Value> = shown
        .costs
        .iter()
        .map(|cost| json!({ "began": cost.began, "rows": cost.rows, "seconds": cost.seconds }))
        .collect();
    json!({
        "relation": shown.name.to_string(),
        "kind": shown.kind.word(),
        "layer": shown.kind.layer(),
        "tags": shown.tags,
        "reads": names(&shown.reads),
        "read_by": names(&shown.read_by),
        "strategy": shown.strategy,
        "columns": columns,
        "sql": shown.sql,
        "last_runs": costs,
        "plan": shown.plan,
    })
}
