//! Any question is rewritten or refused. Of one that a parser of PostgreSQL's language reads, every table with versions
//! may have a FOR SYSTEM_TIME: what comes out is read as well, and is the question as it was but for these tables. Where
//! the words stand in a text or a remark, nothing changes.

use std::sync::LazyLock;

use medallion_runtime::descriptor::{
    Column, ColumnFrom, Name, Plugin, RemovedPartitions, Scripts, Silver, SilverKind, Source, Tracking, Unit,
    Warehouse,
};
use medallion_runtime::system_time::{Guard, rewrite};
use squawk_lexer::TokenKind;
use squawk_syntax::{SourceFile, SyntaxKind, SyntaxNode};

/// What is put behind tables, one after the other.
const CLAUSES: [&str; 4] = [
    " FOR SYSTEM_TIME AS OF '2024-01-01'",
    " FOR SYSTEM_TIME ALL",
    " for System_Time BETWEEN 'yesterday' AND now()",
    " FOR SYSTEM_TIME FROM '-infinity' TO (SELECT max(sys_start) FROM d)",
];

static WAREHOUSE: LazyLock<Warehouse> = LazyLock::new(warehouse);

/// A question. Where tables shall have versions, the fuzzer has nothing to say but the question.
pub fn question(bytes: &[u8]) {
    // The server takes no zero byte.
    let Ok(sql) = std::str::from_utf8(bytes) else { return };
    if sql.contains('\0') {
        return;
    }
    if let Ok(question) = rewrite(&WAREHOUSE, sql, Guard::Each) {
        let again =
            rewrite(&WAREHOUSE, &question.sql, Guard::Each).expect("what was rewritten is no worse to read");
        assert_eq!(again.sql, question.sql, "nothing is left to rewrite");
        assert!(again.times.is_empty());
    }
    if sql.to_ascii_lowercase().contains("system_time") {
        return;
    }
    let parsed = SourceFile::parse(sql);
    if parsed.errors().is_empty() {
        in_remarks(sql);
        behind_tables(sql, &parsed.syntax_node());
    }
}

/// Words within texts and remarks are no clause.
fn in_remarks(sql: &str) {
    let mut with = String::new();
    let mut at = 0;
    for token in squawk_lexer::tokenize(sql) {
        let text = &sql[at..at + token.len as usize];
        at += text.len();
        with.push_str(text);
        let is_text = text.len() > 1 && text.starts_with('\'') && text.ends_with('\'');
        match token.kind {
            TokenKind::LineComment => with.push_str(CLAUSES[0]),
            TokenKind::Literal { .. } if is_text => {
                with.pop();
                with.push_str(CLAUSES[1]);
                with.push('\'');
            }
            _ => {}
        }
    }
    if let Ok(question) = rewrite(&WAREHOUSE, &with, Guard::Each) {
        assert_eq!(question.sql, with, "a text is no clause");
    }
}

/// Each table with versions gets a clause.
fn behind_tables(sql: &str, root: &SyntaxNode) {
    let mut kept = Vec::new();
    let mut with = String::new();
    let mut at = 0;
    for table in root.descendants().filter(|node| node.kind() == SyntaxKind::RELATION_FROM_ITEM) {
        let Some(name) = table.first_child().filter(|name| is_versioned(&name.text().to_string())) else {
            continue;
        };
        // What comes from a table in part or with its children is none of its versions.
        let plain = table.children_with_tokens().filter(|it| it.kind() != SyntaxKind::WHITESPACE).all(|it| {
            it.text_range() == name.text_range()
                || matches!(it.kind(), SyntaxKind::COMMENT | SyntaxKind::FROM_ALIAS)
        });
        if !plain {
            continue;
        }
        let (start, end) = (usize::from(name.text_range().start()), usize::from(name.text_range().end()));
        kept.push(&sql[at..start]);
        with.push_str(&sql[at..end]);
        with.push_str(CLAUSES[kept.len() % CLAUSES.len()]);
        at = end;
    }
    if kept.is_empty() {
        return;
    }
    with.push_str(&sql[at..]);
    let Ok(question) = rewrite(&WAREHOUSE, &with, Guard::Each) else { return };
    let errors = SourceFile::parse(&question.sql).errors();
    assert!(errors.is_empty(), "\n{with}\n{}\n{errors:?}", question.sql);
    let mut rest = question.sql.as_str();
    for part in &kept {
        let found = rest.find(part).unwrap_or_else(|| panic!("\n{with}\n{}\nlacks {part:?}", question.sql));
        rest = &rest[found + part.len()..];
    }
    assert!(question.sql.starts_with(kept[0]), "\n{with}\n{}", question.sql);
    assert!(rest.ends_with(&sql[at..]), "\n{with}\n{}", question.sql);
}

/// Whether a name is one of the warehouse's relations with versions.
fn is_versioned(name: &str) -> bool {
    ["d", "silver.h", "f", "\"dim x\"", "silver.\"dim x\""].contains(&name.trim())
}

fn warehouse() -> Warehouse {
    let dimension = |current: &str, history: &str| {
        silver(
            history,
            SilverKind::Dimension {
                current: Name::new("silver", current),
                row_hash: "row_hash".to_owned(),
                start: "sys_start".to_owned(),
                end: "sys_end".to_owned(),
                journal: None,
                closed: None,
                surrogate: None,
            },
        )
    };
    let fact = silver(
        "f",
        SilverKind::Fact {
            snapshot: "snapshot_ts".to_owned(),
            archive: Name::new("medallion", "f_history"),
            partition_by: "at".to_owned(),
            partition_every: Unit::Month,
        },
    );
    Warehouse {
        name: "shop",
        spec_hash: "",
        objects_hash: "",
        time_zone: "UTC",
        schemas: vec!["silver", "gold"],
        source: Source {
            publication: String::new(),
            slot: String::new(),
            recorded_log: None,
            keep_log: None,
            plugin: Plugin::default(),
            removed_partitions: RemovedPartitions::default(),
            polling: None,
        },
        landings: Vec::new(),
        silver: vec![dimension("d", "h"), dimension("dim x", "dim \"x\""), fact],
        marts: Vec::new(),
        migrations: Vec::new,
        stagings: Vec::new(),
        calendars: Vec::new(),
        refused: &[],
        tags: Vec::new(),
        lineage: "[]",
        alerts: Vec::new(),
        scripts: Scripts::default(),
        tests: Vec::new(),
        demo: Vec::new(),
    }
}

fn silver(table: &str, kind: SilverKind) -> Silver {
    let column = |name: &str| Column {
        name: name.to_owned(),
        sql_type: "text".to_owned(),
        from: ColumnFrom::Field(name.to_owned()),
        tracking: Tracking::Tracked,
        renamed: Vec::new(),
        counted: None,
    };
    Silver {
        table: Name::new("silver", table),
        feed: Name::new("bronze", "feed"),
        key: vec!["id".to_owned()],
        columns: ["id", "at", "it's \"odd\""].map(column).into(),
        lookups: Vec::new(),
        kind,
    }
}
