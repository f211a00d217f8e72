//! `warehouse list`: the relations that a selection means. Asks no database.

use medallion_verbs::list::{Arguments, Format};
use serde_json::{Value, json};

use super::Outcome;
use crate::descriptor::Warehouse;
use crate::error::{During as _, Result};
use crate::select::{self, Graph};

pub fn run(warehouse: &Warehouse, arguments: &Arguments) -> Result<Outcome> {
    let selected = select::relations(warehouse, &arguments.selection)?;
    let graph = Graph::of(warehouse);
    let nodes: Vec<_> = graph.nodes.iter().filter(|(name, _)| selected.contains(**name)).collect();
    super::answer(&match arguments.format {
        Format::Human => {
            let width = nodes.iter().map(|(name, _)| name.to_string().len()).max().unwrap_or_default();
            let lines = nodes.iter().map(|(name, node)| {
                let line =
                    format!("{:width$}  {:9}  {}", name.to_string(), node.kind.word(), node.tags.join(", "));
                line.trim_end().to_owned() + "\n"
            });
            lines.collect::<String>()
        }
        Format::Json => {
            let all: Value = nodes
                .iter()
                .map(|(name, node)| {
                    json!({
                        "relation": name.to_string(),
                        "kind": node.kind.word(),
                        "layer": node.kind.layer(),
                        "storage": node.storage,
                        "tags": node.tags,
                        "reads": node.reads.iter().map(ToString::to_string).collect::<Vec<String>>(),
                    })
                })
                .collect();
            serde_json::to_string_pretty(&all).during(|| "cannot write JSON".to_owned())? + "\n"
        }
    })?;
    Ok(Outcome::Done)
}
