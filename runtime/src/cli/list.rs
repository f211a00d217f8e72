//! `warehouse list`: the relations that a selection means. Asks no database.

use serde_json::{Value, json};

use super::Outcome;
use crate::descriptor::Warehouse;
use crate::error::{During as _, Result};
use crate::select::{Graph, Selection};

#[derive(clap::Args)]
#[command(after_help = "Example: medallion list --select +vw_top_titles --exclude kind:landing")]
pub struct Arguments {
    #[command(flatten)]
    selection: Selection,

    /// How to print them
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// How relations are printed.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum Format {
    /// A line a relation: its name, what it is, its tags
    #[default]
    Human,
    /// All of them as one JSON array
    Json,
}

pub fn run(warehouse: &Warehouse, arguments: &Arguments) -> Result<Outcome> {
    let selected = arguments.selection.of(warehouse)?;
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
