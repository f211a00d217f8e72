//! dbt's grammar of selection over Pagila's own graph, and the verbs that take it.

use std::process::Output;

use medallion_runtime::descriptor::Warehouse;
use medallion_runtime::select::{self, Selection};
use medallion_server::Server;

use crate::support::program::{command, command_on, stderr};
use crate::support::{Shop, compare};
use crate::tested::STOCK;

/// The names that a selection means, without their schemas.
fn meant(warehouse: &Warehouse, select: &[&str], exclude: &[&str]) -> Result<Vec<String>, String> {
    let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    let selection = Selection { select: owned(select), exclude: owned(exclude) };
    let selected = select::relations(warehouse, &selection).map_err(|error| error.to_string())?;
    let mut names: Vec<String> = selected.into_iter().map(|name| name.table).collect();
    names.sort();
    Ok(names)
}

#[test]
fn words_mean_what_dbts_mean() {
    let warehouse = warehouse::pagila::warehouse();
    let cases: [(&[&str], &[&str], &[&str]); 20] = [
        (&["dim_film_hist"], &[], &["dim_film_hist"]),
        // By the view, by the schema too, by a pattern.
        (&["dim_film"], &[], &["dim_film_hist"]),
        (&["simple_gold.vw_top_*"], &[], &["vw_top_titles"]),
        (&["lookup_store"], &[], &["lookup_store_hist"]),
        (&["source:payment"], &[], &["br_payment_cdc"]),
        (&["tag:finance"], &[], &["fact_payment", "vw_monthly_revenue"]),
        (&["kind:fact"], &[], &["fact_payment", "fact_rental"]),
        (&["resource_type:mart,tag:fin*"], &[], &["vw_monthly_revenue"]),
        (&["storage:view"], &[], &["vw_store_scorecard"]),
        // The files that are generated of it.
        (&["path:generated/sql/pagila/30_gold"], &["storage:view"], &["vw_monthly_revenue", "vw_top_titles"]),
        (&["path:generated/src/pagila/silver/fact_*.rs"], &[], &["fact_payment", "fact_rental"]),
        (&["fqn:vw_top_titles"], &[], &["vw_top_titles"]),
        // What it reads, a step and all the way; what reads it.
        (&["1+dim_customer"], &[], &["br_customer_cdc", "dim_customer_hist", "lookup_address_hist"]),
        (
            &["+dim_customer"],
            &[],
            &["br_customer_cdc", "dim_customer_hist", "lookup_address_cdc", "lookup_address_hist"],
        ),
        (&["br_payment_cdc+1"], &[], &["br_payment_cdc", "fact_payment"]),
        (&["lookup_staff+"], &[], &["lookup_staff_hist", "vw_store_scorecard"]),
        (&["@lookup_category"], &[], &["lookup_category_cdc", "lookup_category_hist"]),
        // Either, both, and not.
        (
            &["dim_film kind:mart,fact_rental+"],
            &["storage:view"],
            &["dim_film_hist", "vw_monthly_revenue", "vw_top_titles"],
        ),
        (&["dim_film", "dim_customer"], &["dim_film"], &["dim_customer_hist"]),
        (&["layer:gold,kind:fact"], &[], &[]),
    ];
    for (select, exclude, expected) in cases {
        let expected: Vec<String> = expected.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(meant(&warehouse, select, exclude), Ok(expected), "{select:?} without {exclude:?}");
    }
    let all = meant(&warehouse, &[], &[]).unwrap();
    assert_eq!(all.len(), warehouse.landings.len() + warehouse.silver.len() + warehouse.marts.len());
    for (word, said) in [
        ("vw_top_titels", "`vw_top_titels` selects nothing\n  = did you mean `vw_top_titles`?"),
        ("tag:sales", "`tag:sales` selects nothing\n  = `medallion list` shows relations, kinds and tags"),
        ("path:spec", "`path:spec` selects nothing\n  = `path:` is of a generated file or folder"),
        (
            "state:modified",
            "`state:` selects nothing here\n  = a built warehouse knows no other state of itself",
        ),
        ("test:unique_*", "`test:unique_*` selects nothing\n  = `medallion test` takes tests by their names"),
        ("x++", "`x++` is no selector\n"),
        ("tag:", "`tag:` is no selector\n"),
        ("[", "`[` is no selector\n"),
    ] {
        let error = meant(&warehouse, &[word], &[]).unwrap_err();
        assert!(error.starts_with(said), "{word}: {error}");
    }
}

/// Of a warehouse whose calendar has tests.
#[test]
fn a_calendar_is_meant_by_its_name() {
    let warehouse = warehouse::ecommerce::warehouse();
    let words = [
        "dim_date",
        "silver.dim_da*",
        "kind:calendar",
        "path:generated/sql/ecommerce/20_silver/dim_date.sql",
        "layer:silver,dim_date",
    ];
    for word in words {
        assert_eq!(meant(&warehouse, &[word], &[]), Ok(vec!["dim_date".to_owned()]), "{word}");
    }
    let selection = |select: &[&str], exclude: &[&str]| Selection {
        select: select.iter().map(|&word| word.to_owned()).collect(),
        exclude: exclude.iter().map(|&word| word.to_owned()).collect(),
    };
    let tests = |meant: &Selection| select::tests(&warehouse, meant).unwrap().into_iter().collect::<Vec<_>>();
    let both = ["row_count_dim_date", "unique_dim_date_date_key"];
    assert_eq!(tests(&selection(&["dim_date"], &[])), both);
    let without = tests(&selection(&[], &["dim_date"]));
    assert_eq!(without.len() + both.len(), warehouse.tests.len());
    let rebuilt = medallion_runtime::rebuild::selected(&warehouse, &selection(&["dim_date"], &[]));
    assert!(rebuilt.unwrap_err().to_string().contains("nothing that is selected could be rebuilt"));
}

/// A selection with its neighbours has the selection; what both sides of a comma mean is in either.
#[test]
fn reaching_further_loses_nothing() {
    let warehouse = warehouse::pagila::warehouse();
    let all = meant(&warehouse, &[], &[]).unwrap();
    let names = |word: &str| meant(&warehouse, &[word], &[]).unwrap();
    let holds = |more: &[String], less: &[String]| less.iter().all(|one| more.contains(one));
    for one in &all {
        let around = names(&format!("@{one}"));
        let (before, behind) = (names(&format!("+{one}")), names(&format!("{one}+")));
        assert!(holds(&before, &names(&format!("1+{one}"))) && holds(&around, &behind), "{one}");
        assert!(before.contains(one) && behind.contains(one) && holds(&around, &before), "{one}");
        for other in &all {
            // Who reads it is read by it, seen from the other end.
            let (reads, read) = (names(&format!("+{other}")).contains(one), behind.contains(other));
            assert_eq!(reads, read, "{one} and {other}");
            let both = names(&format!("+{one},+{other}"));
            assert!(holds(&before, &both), "{one} and {other}");
        }
    }
}

fn said(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn the_verbs_take_it() {
    let server = Server::shared_scratch().unwrap();
    let mut shop = Shop::open(server, "selected").await;
    shop.change(STOCK).await;
    shop.migrate().await;
    shop.run().await;
    let ask = |arguments: &[&str], code: i32| said(&command(&shop, arguments).output().unwrap(), code);

    let tested = ask(&["test", "--select", "tag:finance"], 0);
    assert!(tested.contains("1 of 5 ") && tested.ends_with("5 tests: 4 passed, 1 proved\n"), "{tested}");
    assert!(!tested.contains("dim_customer"), "{tested}");
    let by_name = ask(&["test", "--select", "range_fact_payment_amount"], 0);
    assert!(by_name.ends_with("1 test: 1 passed\n"), "{by_name}");
    let ranges = ask(&["test", "--select", "tag:finance,test:range_*"], 0);
    assert!(ranges.contains("range_") && !ranges.contains("unique"), "{ranges}");
    let but = ask(&["test", "--select", "fact_payment", "--exclude", "range_fact_payment_amount"], 0);
    assert!(!but.contains("range_fact_payment_amount") && but.contains("1 of "), "{but}");
    let verified = ask(&["verify", "--select", "+fact_payment", "--exclude", "layer:bronze"], 0);
    assert!(verified.contains("OK temporal_silver.fact_payment ") && !verified.contains("cdc"), "{verified}");
    assert!(!verified.contains("dim_film") && !verified.contains("simple_gold"), "{verified}");
    let rebuilt = command(&shop, &["rebuild", "--select", "kind:fact"]).output().unwrap();
    assert_eq!(said(&rebuilt, 0), "nothing differed\n");
    assert!(stderr(&rebuilt).contains("2 of 2 OK rebuilt temporal_silver.fact_payment "), "{rebuilt:?}");
    let nothing = command(&shop, &["rebuild", "--select", "layer:bronze"]).output().unwrap();
    assert!(
        said(&nothing, 2).is_empty() && stderr(&nothing).contains("nothing that is selected"),
        "{nothing:?}"
    );
    let run = command(&shop, &["run", "--select", "fact_payment"]).output().unwrap();
    assert!(said(&run, 2).is_empty() && stderr(&run).contains("`--full-refresh`"), "{run:?}");

    // It is told without a database.
    let nowhere = server.url("absent");
    let list = command_on(&nowhere, &nowhere, &["list", "--select", "tag:finance"]).output().unwrap();
    assert_eq!(
        said(&list, 0),
        "simple_gold.vw_monthly_revenue  mart       finance\n\
         temporal_silver.fact_payment    fact       finance\n"
    );

    let shown = ask(&["show", "vw_monthly_revenue"], 0);
    for part in [
        "simple_gold.vw_monthly_revenue (mart)\ntags: finance\nreads: temporal_silver.fact_payment\n",
        "a change of `temporal_silver.fact_payment` refreshes its (store_id, month), before and after",
        "\nSQL\n  SELECT ",
        "\nlast runs\n  20",
        "  1 row in 0.",
        "\nplan\n  ",
    ] {
        assert!(shown.contains(part), "{part:?} is not in {shown}");
    }
    let shown: serde_json::Value =
        serde_json::from_str(&ask(&["show", "+fact_payment", "--analyze", "--format", "json"], 0)).unwrap();
    let shown = shown.as_array().unwrap();
    let payment = shown.iter().find(|one| one["relation"] == "temporal_silver.fact_payment").unwrap();
    assert_eq!(payment["read_by"].as_array().unwrap().len(), 3, "{payment:#}");
    assert_eq!(payment["last_runs"][0]["rows"], 20, "{payment:#}");
    assert!(payment["plan"].to_string().contains("actual time"), "{payment:#}");
    let film = payment["columns"].as_array().unwrap().iter().find(|one| one["name"] == "film_id").unwrap();
    assert_eq!(film["from"], "integer from rental.film_id");
    assert_eq!(compare::value(&mut shop.warehouse, "SELECT count(*) FROM medallion.failed_row").await, "0");
}
