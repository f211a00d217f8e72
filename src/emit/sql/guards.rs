//! The SQL by which it stays on record who switched a guard off: a trigger that keeps what landed, or what has
//! ended. Comes after all guards stand, for those of a migration are nobody's to explain. Knows no relation.

use askama::Template;

use super::script::Script;

#[derive(Template)]
#[template(path = "generated/sql/warehouse/40_keeping/guard_switch.sql", escape = "none")]
struct GuardSwitchSql;

pub(super) fn script() -> Script {
    let text = super::render(&GuardSwitchSql);
    let (comments, definition): (Vec<&str>, Vec<&str>) =
        text.trim().lines().partition(|line| line.starts_with("COMMENT ON "));
    let drops = [
        "EVENT TRIGGER IF EXISTS \"medallion_guards_dropped\"",
        "EVENT TRIGGER IF EXISTS \"medallion_guards_altered\"",
        "FUNCTION \"medallion\".\"note_guards\"()",
        "FUNCTION \"medallion\".\"switch_guards\"(regclass, text, text)",
        "FUNCTION \"medallion\".\"guards\"(oid)",
        "FUNCTION \"medallion\".\"note_switch\"(oid, text)",
        "TABLE \"medallion\".\"guard_switch\"",
    ];
    Script {
        folder: "40_keeping",
        object: "guard_switch".to_owned(),
        title: "medallion: guard_switch".to_owned(),
        definition: definition.join("\n").trim().to_owned(),
        comments: comments.into_iter().map(str::to_owned).collect(),
        drops: drops.iter().map(|object| format!("DROP {object};")).collect(),
    }
}
