//! What stands in the way of a change is cleared, whatever the warehouse was before: each case is a spec of before and
//! one of now, both told as edits of the small one.

use medallion::emit::Unable;
use medallion::plan::decision::Undecided;

use super::catalog::{catalog, psql};
use super::changes::Edit;
use super::{ROWS, change, database, evolved, fresh, migration, there_and_back};

const VERSIONED: &str = "system_versioning = true\n";
const TYPES: &str = "[types]";
const KEPT: &str = "[retention]\nkeep = \"12 months\"\nthen = \"drop\"\n\n[types]";
const ARCHIVED: &str = "[retention]\nkeep = \"12 months\"\nthen = \"archive\"\n\n[types]";
/// A view of staging, under a name that a fact has later.
const STAGED: &str = "[[staging]]\nname = \"fact_sold\"\nfrom = \"br_customer_cdc\"\ncolumns = [{ name = \"customer_id\", type = \"integer\" }]\n\n[types]";

/// A row of the dimension's, as others write it and as the loader does.
const WRITTEN: &str = "(customer_id, name, email, mood, points)
    VALUES (1, 'Ann', 'a@b', 'fine', 7)";
const LOADED: &str = "(customer_id, name, email, mood, points, row_hash, sys_start, sys_end)
    VALUES (1, 'Ann', 'a@b', 'fine', 7, '', '2024-01-01', 'infinity')";

/// What it is, the spec of before, and that of now.
type Case = (&'static str, &'static [Edit], &'static [Edit]);

const CASES: &[Case] = &[
    // What a function gives is no part of what DROP calls it.
    ("all of the past is kept again", &[(TYPES, KEPT)], &[(TYPES, TYPES)]),
    ("not all of the past is kept any more", &[], &[(TYPES, KEPT)]),
    (
        "archives that may go",
        &[(TYPES, ARCHIVED)],
        &[(
            TYPES,
            "[retention]\nkeep = \"12 months\"\nthen = \"drop\"\n\n[allow_drop]\n\"br_customer_cdc.archive\" = \"Old.\"\n\"br_sale_cdc.archive\" = \"Old.\"\n\"dim_customer_hist.archive\" = \"Old.\"\n\"fact_sale.archive\" = \"Old.\"\n\n[types]",
        )],
    ),
    // A view has the name that a table gets.
    (
        "dimension named as its current view was",
        &[],
        &[(
            "name = \"dim_customer_hist\"",
            "name = \"dim_customer\"\nrenamed_from = \"dim_customer_hist\"\ncurrent_view = \"dim_customer_now\"",
        )],
    ),
    (
        "dimension and current view change names",
        &[],
        &[(
            "name = \"dim_customer_hist\"",
            "name = \"dim_customer\"\nrenamed_from = \"dim_customer_hist\"\ncurrent_view = \"dim_customer_hist\"",
        )],
    ),
    (
        "fact named as a view of staging was",
        &[(TYPES, STAGED)],
        &[
            ("name = \"fact_sale\"", "name = \"fact_sold\"\nrenamed_from = \"fact_sale\""),
            ("sale = \"fact_sale\"", "sale = \"fact_sold\""),
            ("sale = \"fact_sale\"", "sale = \"fact_sold\""),
        ],
    ),
    // Rows are split by a column that has another type.
    (
        "fact split by a date that was a time",
        &[],
        &[
            ("name = \"sold_at\", type = \"timestamptz\"", "name = \"sold_at\", type = \"date\""),
            (TYPES, "[allow_hazard]\n\"fact_sale.irreversible\" = \"Days do.\"\n\n[types]"),
        ],
    ),
    (
        "fact split by a time that was a date, and by day",
        &[("name = \"sold_at\", type = \"timestamptz\"", "name = \"sold_at\", type = \"date\"")],
        &[("every = \"month\"", "every = \"day\"")],
    ),
    // A table steps aside with triggers whose functions go.
    (
        "neither apart nor versioned any more",
        &[(VERSIONED, "system_versioning = true\nclosed_apart = { every = \"month\" }\n")],
        &[
            (VERSIONED, ""),
            (
                TYPES,
                "[allow_drop]\n\"dim_customer_hist.journal\" = \"Only the source writes it.\"\n\n[types]",
            ),
        ],
    ),
    (
        "apart and versioned at once",
        &[(VERSIONED, "")],
        &[(VERSIONED, "system_versioning = true\nclosed_apart = { every = \"month\" }\n")],
    ),
];

#[test]
fn what_stands_in_the_way_is_cleared() {
    // Some by themselves, for whom they fail.
    let only = std::env::var("MEDALLION_CHANGE").unwrap_or_default();
    let wrong: Vec<String> = CASES
        .iter()
        .enumerate()
        .filter(|(_, (what, ..))| what.contains(&only))
        .filter_map(|(number, case)| cleared(number, case).err().map(|error| format!("{}: {error}", case.0)))
        .collect();
    assert!(wrong.is_empty(), "{} of {}:\n\n{}", wrong.len(), CASES.len(), wrong.join("\n\n"));
}

fn cleared(number: usize, (_, before, now): &Case) -> Result<(), String> {
    let versioned = !before.contains(&(VERSIONED, ""));
    let before = fresh(before);
    let from = format!("uncleared_{number}");
    let url = database(&from);
    psql(&url, &migration(&before, 1, "up.sql"));
    match versioned {
        true => psql(&url, ROWS),
        false => psql(&url, &ROWS.replace(WRITTEN, LOADED)),
    };
    there_and_back((&format!("cleared_{number}"), &from), &before, &catalog(&url), now)
}

/// What was pruned stands nowhere else: it is asked for, relation by relation, whatever takes the archives away.
#[test]
fn an_archive_goes_only_when_it_may() {
    let before = fresh(&[(TYPES, ARCHIVED)]);
    for now in [&[][..], &[(TYPES, KEPT)]] {
        let Err(Unable::Undecided(asked)) = evolved(&before, now) else { panic!("nothing is asked") };
        let archives = asked.iter().map(|one| match one {
            Undecided::Archive { relation } => relation.name.clone(),
            other => panic!("{other:?}"),
        });
        let archives: Vec<String> = archives.collect();
        assert_eq!(archives, ["br_customer_cdc", "br_sale_cdc", "dim_customer_hist", "fact_sale"]);
        for name in &archives {
            let table = if name == "fact_sale" { "fact_sale_history" } else { name };
            let up = migration(&before, 1, "up.sql");
            assert!(up.contains(&format!("\"{table}_pruned\"")), "{table}");
        }
    }
}

/// What the bookkeeping says of a relation is said of it under its name of now.
#[test]
fn what_is_on_record_goes_by_the_name_of_now() {
    const NAMED: &str = "SELECT relation, landing FROM medallion.misfit
        UNION ALL SELECT relation, why FROM medallion.guard_switch ORDER BY 1, 2";
    let staged: &'static str = STAGED.replace("fact_sold", "stg_customer").leak();
    let before = fresh(&[(TYPES, staged)]);
    let url = database("on_record");
    psql(&url, &migration(&before, 1, "up.sql"));
    psql(
        &url,
        "INSERT INTO medallion.misfit (relation, landing, lsn, seq, \"column\", problem)
         VALUES ('silver.fact_sale', 'bronze.br_sale_cdc', 1, 1, 'city', 'none');
         DELETE FROM medallion.guard_switch;
         INSERT INTO medallion.guard_switch (relation, guards, why) VALUES ('silver.fact_sale', 'off', 'mended')",
    );
    let mut edits = change("fact renamed").to_vec();
    edits.extend(change("landing renamed"));
    edits.push((TYPES, staged));
    let after = evolved(&before, &edits).unwrap();
    psql(&url, &migration(&after, 2, "up.sql"));
    let named = |sql: &str| psql(&url, sql).trim().to_owned();
    assert_eq!(named(NAMED), "silver.fact_sold|bronze.br_sold_cdc\nsilver.fact_sold|mended");
    psql(&url, &migration(&after, 2, "down.sql"));
    assert_eq!(named(NAMED), "silver.fact_sale|bronze.br_sale_cdc\nsilver.fact_sale|mended");
}
