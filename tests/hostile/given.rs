//! What neighbours are given of a warehouse of hostile names is what they are given of a plain one, but for what stands in
//! quotes and remarks. What the neighbours themselves make of it, `tests/neighbours.rs` asks them.

use std::sync::LazyLock;

use medallion::emit::dbt;
use medallion::emit::schedule::{self, Job, Scheduler};
use medallion::model::{SilverKind, Warehouse};

use crate::said::{self, Fed, plain};

const ALL: [Scheduler; 5] =
    [Scheduler::Airflow, Scheduler::Dagster, Scheduler::Cron, Scheduler::Systemd, Scheduler::Kubernetes];

/// What ends a line for one of those who read it, or turns what follows it around.
const ENDS: [char; 12] = [
    '\r', '\u{b}', '\u{c}', '\u{1c}', '\u{1d}', '\u{1e}', '\u{85}', '\u{2028}', '\u{2029}', '\u{202e}',
    '\u{feff}', '\0',
];

static PLAIN: LazyLock<Vec<Vec<String>>> = LazyLock::new(|| {
    given(
        &said::load(&plain(), "hostile", Fed::All).unwrap_or_else(|_| panic!("plain names are fine")),
        "plain",
    )
});

pub fn stays(warehouse: &Warehouse, what: &str) {
    for (hostile, plain) in given(warehouse, what).iter().zip(PLAIN.iter()) {
        for (hostile, plain) in hostile.iter().zip(plain) {
            assert_eq!(hostile, plain, "{what} breaks out");
        }
        assert_eq!(hostile.len(), plain.len(), "{what} says more, or less");
    }
}

/// What stands outside of quotes and remarks: of each neighbour the lines, whatever their order.
fn given(warehouse: &Warehouse, what: &str) -> Vec<Vec<String>> {
    let job = Job {
        cron: "0 6 * * *".parse().unwrap(),
        program: "warehouse".to_owned(),
        image: "warehouse:latest".to_owned(),
    };
    let mut all: Vec<Vec<String>> = ALL
        .into_iter()
        .map(|scheduler| {
            let files = schedule::schedule(warehouse, scheduler, &job);
            let of = |text: &str| lines(text, scheduler == Scheduler::Systemd, what);
            files.iter().flat_map(|(_, text)| of(text)).collect()
        })
        .collect();
    let dbt = lines(&dbt::schema(warehouse), false, what);
    // It cannot test every relation: what is asked of those with odd names is only told.
    if !has_odd_relations(warehouse) {
        // Whether a name has to be quoted is the database's to say.
        all.push(dbt.into_iter().filter(|line| line.trim() != "quote: true").collect());
    }
    all.iter_mut().for_each(|lines| lines.sort());
    all
}

/// Whether a relation that dbt is told of has what ends a text in a template.
fn has_odd_relations(warehouse: &Warehouse) -> bool {
    let silver = warehouse.silver.iter().flat_map(|one| {
        let current = match &one.kind {
            SilverKind::Dimension(dimension) => Some(&dimension.current_view.name),
            SilverKind::Fact(_) => None,
        };
        [Some(&one.name.name), current].into_iter().flatten()
    });
    let marts = warehouse.marts.iter().map(|one| &one.name.name);
    let schemas = [&warehouse.schemas.silver, &warehouse.schemas.gold];
    silver.chain(marts).chain(schemas).any(|name| name.contains(['\'', '\\']))
}

fn lines(text: &str, are_units: bool, what: &str) -> Vec<String> {
    assert!(!text.contains(ENDS), "{what}: a line ends where none should\n{text}");
    let outside = |line: &str| match (line.trim_start().starts_with('#'), are_units) {
        (true, _) => "#".to_owned(),
        // What a unit is told goes to the end of the line, unless that is a backslash.
        (false, true) => {
            assert!(!line.ends_with('\\'), "{what}: the next line is a part of {line}");
            line.split('=').next().unwrap_or_default().to_owned()
        }
        (false, false) => unquoted(line),
    };
    text.lines().map(outside).collect()
}

/// A line without what stands in its double quotes.
fn unquoted(line: &str) -> String {
    let mut outside = String::new();
    let (mut quoted, mut escaped) = (false, false);
    for one in line.chars() {
        match (quoted, one) {
            (true, _) if escaped => escaped = false,
            (true, '\\') => escaped = true,
            (_, '"') => {
                quoted = !quoted;
                outside.push(one);
            }
            (true, _) => {}
            (false, _) => outside.push(one),
        }
    }
    assert!(!quoted, "a text does not end: {line}");
    outside
}
