//! What the runtime is told of the files that feed a landing table.

use super::layout::{Expression, array, atom, call, string, structure};
use crate::model::{Changed, Csv, Feed, FeedFormat};

pub(super) fn descriptor(feed: &Feed) -> Expression {
    let changed = match feed.changed {
        Changed::Reread => "descriptor::Changed::Reread",
        Changed::Grown => "descriptor::Changed::Grown",
        Changed::Refused => "descriptor::Changed::Refused",
    };
    let time = feed.time.as_ref().map_or_else(|| atom("None"), |time| call("Some", vec![owned(time)]));
    let zone = feed.time_zone.as_ref();
    let zone = zone.map_or_else(|| atom("None"), |zone| call("Some", vec![atom(string(zone))]));
    structure(
        "descriptor::Feed",
        vec![
            ("path", owned(&feed.path)),
            ("format", format(&feed.format)),
            ("changed", atom(changed)),
            ("time", time),
            ("time_zone", zone),
        ],
    )
}

fn format(format: &FeedFormat) -> Expression {
    match format {
        FeedFormat::Csv(csv) => call("descriptor::FeedFormat::Csv", vec![self::csv(csv)]),
        FeedFormat::JsonLines => atom("descriptor::FeedFormat::JsonLines"),
        FeedFormat::JsonArray => atom("descriptor::FeedFormat::JsonArray"),
        FeedFormat::ChangeLog => atom("descriptor::FeedFormat::ChangeLog"),
        FeedFormat::Parquet => atom("descriptor::FeedFormat::Parquet"),
    }
}

fn csv(csv: &Csv) -> Expression {
    let byte = |character: char| atom(format!("{:#04x}", u32::from(character)));
    let columns = csv.columns.iter().map(|column| atom(string(column))).collect();
    structure(
        "descriptor::Csv",
        vec![
            ("delimiter", byte(csv.delimiter)),
            ("quote", byte(csv.quote)),
            (
                "null",
                call(
                    "descriptor::names",
                    vec![array(csv.null.iter().map(|text| atom(string(text))).collect())],
                ),
            ),
            ("columns", call("descriptor::names", vec![array(columns)])),
        ],
    )
}

fn owned(text: &str) -> Expression {
    atom(format!("{}.to_owned()", string(text)))
}
