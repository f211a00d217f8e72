//! How an enumerated type comes by other values: added where PostgreSQL can add them, else the type is made
//! anew and every column converted by what its values read as.

use super::difference::{Step, aside};
use super::gone::Gone;
use super::hazard::Hazard;
use super::object::{Catalog, Kind, Object, Unreadable};
use super::rename::Renames;
use super::table::{Column, Table, quoted};

/// What becomes of a type.
pub(super) enum Change {
    /// Values come in: each with where it goes.
    Added(Vec<String>),
    /// Values go, or change places.
    Anew,
}

impl Change {
    /// What leads from one definition to the other. A value that is added cannot be used in the same transaction:
    /// where something that is made says it, the type is made anew as well.
    pub(super) fn between(there: &Object, wanted: &Object, new: &Catalog) -> Self {
        let (before, after) = (values(&there.sql), values(&wanted.sql));
        let kept: Vec<&String> = after.iter().filter(|value| before.contains(value)).collect();
        if !kept.into_iter().eq(before.iter()) {
            return Self::Anew;
        }
        let mut added = Vec::new();
        for (number, value) in after.iter().enumerate().filter(|(_, value)| !before.contains(value)) {
            let is_said = new
                .objects
                .iter()
                .any(|one| one.identity != wanted.identity && one.sql.contains(value.as_str()));
            if is_said {
                return Self::Anew;
            }
            let place = match (number.checked_sub(1).map(|earlier| &after[earlier]), after.get(number + 1)) {
                (Some(earlier), _) => format!(" AFTER {earlier}"),
                (None, Some(later)) => format!(" BEFORE {later}"),
                (None, None) => String::new(),
            };
            added.push(format!("ADD VALUE {value}{place}"));
        }
        Self::Added(added)
    }

    /// Whether the type is made anew.
    pub(super) fn is_anew(&self) -> bool {
        matches!(self, Self::Anew)
    }

    /// The statements.
    pub(super) fn steps(
        &self,
        wanted: &Object,
        old: &Catalog,
        gone: &Gone,
        renames: &Renames,
    ) -> Result<Vec<Step>, Unreadable> {
        let (name, section) = (&wanted.identity.name, &wanted.section);
        let added = match self {
            Self::Added(added) => added,
            Self::Anew => return anew(wanted, old, gone, renames),
        };
        Ok(added.iter().map(|value| Step::new(section, format!("ALTER TYPE {name}\n    {value};"))).collect())
    }
}

/// The new type beside the old one, the columns moved over, the old one dropped. A row that holds a value that is
/// gone makes the migration fail as a whole.
fn anew(wanted: &Object, old: &Catalog, gone: &Gone, renames: &Renames) -> Result<Vec<Step>, Unreadable> {
    let (name, section) = (&wanted.identity.name, &wanted.section);
    let before = "\"medallion$before\"";
    let now = values(&wanted.sql);
    let renamed: Vec<(&String, &String)> = renames
        .values
        .iter()
        .filter(|(one, before, after)| one == name && !now.contains(before) && now.contains(after))
        .map(|(_, before, after)| (before, after))
        .collect();
    let schema = quoted(name).map_or(name.as_str(), |(schema, _)| schema);
    let mut steps = vec![
        Step::new(section, format!("ALTER TYPE {name} RENAME TO {before};")),
        Step::new(section, &wanted.sql),
    ];
    for object in
        old.objects.iter().filter(|one| one.identity.kind == Kind::Table && one.reads.contains(name))
    {
        let called = match (gone.is_aside(&object.identity), gone.identities.contains(&object.identity)) {
            (true, _) => aside(&object.identity.name),
            (false, true) => continue,
            (false, false) => object.identity.name.clone(),
        };
        let table = Table::read(&object.sql)?;
        let actions: Vec<String> = table
            .columns
            .iter()
            .filter(|column| column.data_type == *name || column.data_type == format!("{name}[]"))
            .map(|column| {
                let text = as_text(column, &renamed);
                format!("ALTER COLUMN {0} TYPE {1} USING {text}::{1}", column.name, column.data_type)
            })
            .collect();
        let sql = format!("ALTER TABLE {called}\n    {};", actions.join(",\n    "));
        steps.push(Step { hazards: vec![Hazard::Rewrite], ..Step::new(section, sql) });
    }
    steps.push(Step::new(section, format!("DROP TYPE {schema}.{before};")));
    Ok(steps)
}

/// What a column's values read as, those of other names by theirs.
fn as_text(column: &Column, renamed: &[(&String, &String)]) -> String {
    let name = &column.name;
    if column.data_type.ends_with("[]") {
        let whole = format!("{name}::text[]");
        return renamed.iter().fold(whole, |text, (old, new)| format!("array_replace({text}, {old}, {new})"));
    }
    if renamed.is_empty() {
        return format!("{name}::text");
    }
    let cases: Vec<String> = renamed.iter().map(|(old, new)| format!("WHEN {old} THEN {new}")).collect();
    format!("(CASE {name}::text {} ELSE {name}::text END)", cases.join(" "))
}

/// The values, as literals.
pub(super) fn values(sql: &str) -> Vec<String> {
    let inner = sql.split_once("AS ENUM (").map_or("", |(_, rest)| rest);
    let mut values = Vec::new();
    let mut rest = inner;
    while let Some(start) = rest.find('\'') {
        let mut end = start + 1;
        while let Some(quote) = rest[end..].find('\'') {
            end += quote + 1;
            if !rest[end..].starts_with('\'') {
                break;
            }
            end += 1;
        }
        values.push(rest[start..end].to_owned());
        rest = &rest[end..];
    }
    values
}
