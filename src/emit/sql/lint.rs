//! Why what a linter asks about stands: lines at the head of a migration that squawk reads, each with its reason. Goes
//! by what a statement begins with or holds; `tests/lints.rs` holds the linter against it.

/// A rule, what a text that breaks it holds, and why it stands.
struct Standing {
    rule: &'static str,
    found_by: &'static [&'static str],
    why: &'static str,
}

const RUNNER: &str = "whoever migrates sets them before";
const TYPE: &str = "types are those of the spec, which follow the source";
const AGAIN: &str = "made again further down, or gone from the spec";
const ALLOWED: &str = "gone from the spec, which says that it may go";
const RENAMED: &str = "renamed in the spec, with all that the warehouse has of it";
const HAZARD: &str = "the spec asks for it; what it blocks stands before the statement";
const TAKEN: &str = "a partitioned table has those of its partitions, and nothing is built or read";
const NEW: &str = "nobody reads or writes the relation before it is there";

const STANDING: &[Standing] = &[
    standing("require-lock-timeout", &[""], RUNNER),
    standing("require-statement-timeout", &[""], RUNNER),
    standing("prefer-bigint-over-int", &[" integer"], TYPE),
    standing("prefer-bigint-over-smallint", &[" smallint"], TYPE),
    standing("prefer-text-field", &[" varchar("], TYPE),
    standing("prefer-timestamp-tz", &[" timestamp,", " timestamp\n", " timestamp "], TYPE),
    standing("ban-char-field", &[" char("], TYPE),
    standing("ban-drop-view", &["DROP VIEW", "DROP MATERIALIZED VIEW"], AGAIN),
    standing("ban-drop-function", &["DROP FUNCTION"], AGAIN),
    standing("ban-drop-type", &["DROP TYPE"], AGAIN),
    standing("ban-drop-constraint", &["DROP CONSTRAINT"], AGAIN),
    standing("ban-drop-sequence", &["DROP SEQUENCE"], AGAIN),
    standing("ban-drop-default", &["DROP DEFAULT"], AGAIN),
    standing("require-concurrent-index-deletion", &["DROP INDEX"], AGAIN),
    standing("ban-drop-column", &["DROP COLUMN"], ALLOWED),
    standing("ban-drop-table", &["DROP TABLE"], ALLOWED),
    standing("ban-drop-schema", &["DROP SCHEMA"], ALLOWED),
    standing("ban-drop-not-null", &["DROP NOT NULL"], HAZARD),
    standing("renaming-column", &["RENAME COLUMN"], RENAMED),
    standing("renaming-table", &["RENAME TO"], RENAMED),
    standing("renaming-object", &["RENAME TO", "RENAME VALUE"], RENAMED),
    standing("changing-column-type", &[" TYPE "], HAZARD),
    standing("adding-not-nullable-field", &["SET NOT NULL"], HAZARD),
    standing("adding-required-field", &["ADD COLUMN"], HAZARD),
    standing("constraint-missing-not-valid", &["ADD CONSTRAINT", "ADD CHECK"], HAZARD),
    standing("disallowed-unique-constraint", &["ADD CONSTRAINT", "ADD UNIQUE"], HAZARD),
    standing("adding-serial-primary-key-field", &["ADD CONSTRAINT", "ADD PRIMARY KEY"], HAZARD),
    standing("require-concurrent-index-creation", &["CREATE INDEX", "CREATE UNIQUE INDEX"], NEW),
];

/// The same for what runs by itself.
const STANDING_BESIDE: &[Standing] = &[
    standing("require-lock-timeout", &[""], RUNNER),
    standing("require-statement-timeout", &[""], RUNNER),
    standing("require-concurrent-index-creation", &["CREATE INDEX IF NOT EXISTS"], TAKEN),
    standing("require-concurrent-index-deletion", &["DROP INDEX IF EXISTS"], TAKEN),
];

const fn standing(rule: &'static str, found_by: &'static [&'static str], why: &'static str) -> Standing {
    Standing { rule, found_by, why }
}

/// The text, with what stands told below its first line.
pub(super) fn remarked(text: String) -> String {
    standing_in(text, STANDING)
}

/// The same with a text that runs by itself, statement by statement.
pub(super) fn remarked_beside(text: String) -> String {
    standing_in(text, STANDING_BESIDE)
}

fn standing_in(text: String, list: &[Standing]) -> String {
    let Some((first, rest)) = text.split_once('\n') else { return text };
    let mut lines: Vec<(&str, Vec<&str>)> = Vec::new();
    let met = list.iter().filter(|one| one.found_by.iter().any(|words| rest.contains(words)));
    for one in met {
        match lines.iter_mut().find(|(why, _)| *why == one.why) {
            Some((_, rules)) => rules.push(one.rule),
            None => lines.push((one.why, vec![one.rule])),
        }
    }
    let mut told = String::from("\n-- What a linter asks about, and why it stands:\n");
    for (why, rules) in lines {
        told.push_str(&format!("-- squawk-ignore-file {} -- {why}\n", rules.join(", ")));
    }
    format!("{first}\n{told}{rest}")
}
