//! Measures the tool on a spec of 1,000 relations, as its users run it: `check`, the first `generate`, one that finds
//! nothing to do, `generate --check`, `plan` of a change, and the `generate` that writes it. No database. The spec is
//! drawn up here: landing tables, lookups, dimensions, facts and marts in the proportions of a real one.
//! `make bench-large-spec` runs it and fails where one takes longer than it may.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// How many of each there are: 1,000 in all.
const LANDINGS: usize = 400;
const LOOKUPS: usize = 100;
const DIMENSIONS: usize = 250;
const FACTS: usize = 150;
const MARTS: usize = 100;

/// How often each is measured; the median counts.
const RUNS: usize = 5;

fn main() {
    let mut folder = tempfile::tempdir().expect("the temporary folder takes a folder");
    if std::env::var_os("BENCH_KEEP").is_some() {
        folder.disable_cleanup(true);
        println!("in {}", folder.path().display());
    }
    let spec = folder.path().join("spec/large");
    fs::create_dir_all(&spec).expect("a folder of one's own takes folders");
    let write = |text: &str| fs::write(spec.join("spec.toml"), text).expect("it takes a file as well");
    let before = large();
    let after = before.replacen(
        "    { name = \"city\", type = \"text\", null = true },\n",
        "    { name = \"city\", type = \"text\", null = true },\n    { name = \"phone\", type = \"text\", null = true },\n",
        1,
    );
    assert_ne!(before, after, "there is a column to put another one behind");
    write(&before);
    let mut slow = false;
    let mut measure = |what: &str, most: Option<f64>, arguments: &[&str], prepare: &dyn Fn()| {
        let took = median(folder.path(), arguments, prepare).as_secs_f64();
        let is_slow = most.is_some_and(|most| took >= most);
        let verdict = most.map_or_else(String::new, |most| {
            format!("  {} {most:.1} s", if is_slow { "MORE THAN" } else { "of" })
        });
        println!("{what:<44}{took:>8.3} s{verdict}");
        slow |= is_slow;
    };
    let nothing = || {};
    measure("check", Some(0.5), &["check"], &nothing);
    let afresh = || {
        for generated in ["generated", "migration"] {
            let _ = fs::remove_dir_all(folder.path().join(generated));
        }
    };
    measure("generate, the first time", Some(1.0), &["generate"], &afresh);
    measure("generate, with nothing to do", Some(1.0), &["generate"], &nothing);
    measure("generate --check", Some(1.0), &["generate", "--check"], &nothing);
    measure("plan, with nothing to do", Some(0.5), &["plan"], &nothing);
    write(&after);
    measure("plan of a new column", Some(0.5), &["plan"], &nothing);
    let again = || {
        write(&before);
        run(folder.path(), &["generate", "--squash"]);
        write(&after);
    };
    measure("generate of a new column", Some(1.0), &["generate"], &again);
    std::process::exit(i32::from(slow));
}

fn median(folder: &Path, arguments: &[&str], prepare: &dyn Fn()) -> Duration {
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            prepare();
            run(folder, arguments)
        })
        .collect();
    times.sort();
    times[RUNS / 2]
}

fn run(folder: &Path, arguments: &[&str]) -> Duration {
    let mut command = Command::new(env!("CARGO_BIN_EXE_medallion"));
    command.current_dir(folder).args(arguments).env_remove("MEDALLION_SPEC");
    let start = Instant::now();
    let output = command.output().expect("the tool has been built");
    let took = start.elapsed();
    let said =
        || String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {}", said());
    took
}

/// The spec.
fn large() -> String {
    let mut spec = String::from(
        "[warehouse]\nname = \"large\"\ndescription = \"As many relations as a company has.\"\n\n\
         [roles]\nloader = \"large_loader\"\nreader = \"large_reader\"\n\n\
         [types]\nmood = [\"fine\", \"fair\", \"foul\"]\n",
    );
    for number in 0..LANDINGS {
        let _ = write!(
            spec,
            "\n[[landing]]\nname = \"br_thing_{number:03}_cdc\"\ndescription = \"Every change of a thing.\"\n\
             from = \"thing_{number:03}\"\nkey = [\"thing_id\"]\n"
        );
    }
    for number in 0..LOOKUPS {
        let _ = write!(
            spec,
            "\n[[lookup]]\nname = \"lookup_place_{number:03}\"\ndescription = \"Where things are.\"\n\
             from = \"place_{number:03}\"\nkey = [\"place_id\"]\ncolumns = [\n    \
             {{ name = \"place_id\", type = \"integer\" }},\n    \
             {{ name = \"name\", type = \"text\" }},\n    \
             {{ name = \"region\", type = \"text\", null = true }},\n    \
             {{ name = \"opened\", type = \"date\", null = true }},\n]\n"
        );
    }
    for number in 0..DIMENSIONS {
        let place = number % LOOKUPS;
        let _ = write!(
            spec,
            "\n[[dimension]]\nname = \"dim_thing_{number:03}_hist\"\ndescription = \"Things, every version.\"\n\
             from = \"br_thing_{number:03}_cdc\"\nkey = [\"thing_id\"]\nsystem_versioning = {}\n\
             lookups = [\n    {{ name = \"place\", relation = \"lookup_place_{place:03}\", on = [\"place_id\"] }},\n]\n\
             columns = [\n    \
             {{ name = \"thing_id\", type = \"bigint\" }},\n    \
             {{ name = \"place_id\", type = \"integer\" }},\n    \
             {{ name = \"region\", type = \"text\", null = true, from = \"place.region\" }},\n    \
             {{ name = \"name\", type = \"text\", description = \"What it is called.\" }},\n    \
             {{ name = \"city\", type = \"text\", null = true }},\n    \
             {{ name = \"mood\", type = \"mood\", null = true }},\n    \
             {{ name = \"price\", type = \"numeric(12,2)\", description = \"What it costs.\" }},\n    \
             {{ name = \"tags\", type = \"text[]\", null = true }},\n    \
             {{ name = \"since\", type = \"date\" }},\n    \
             {{ name = \"last_update\", type = \"timestamptz\", tracked = false }},\n]\n",
            number % 10 == 0
        );
    }
    for number in 0..FACTS {
        let (landing, place) = (DIMENSIONS + number, number % LOOKUPS);
        let _ = write!(
            spec,
            "\n[[fact]]\nname = \"fact_sale_{number:03}\"\ndescription = \"One row a sale.\"\n\
             from = \"br_thing_{landing:03}_cdc\"\nkey = [\"thing_id\"]\n\
             partition = {{ by = \"sold_at\", every = \"month\" }}\n\
             lookups = [\n    {{ name = \"place\", relation = \"lookup_place_{place:03}\", on = [\"place_id\"], at = \"sold_at\" }},\n]\n\
             columns = [\n    \
             {{ name = \"thing_id\", type = \"bigint\" }},\n    \
             {{ name = \"sold_at\", type = \"timestamptz\" }},\n    \
             {{ name = \"place_id\", type = \"integer\" }},\n    \
             {{ name = \"region\", type = \"text\", null = true, from = \"place.region\" }},\n    \
             {{ name = \"buyer_id\", type = \"bigint\", references = \"dim_thing_{number:03}_hist\" }},\n    \
             {{ name = \"amount\", type = \"numeric(12,2)\", description = \"What was paid.\" }},\n    \
             {{ name = \"last_update\", type = \"timestamptz\" }},\n]\n"
        );
    }
    for number in 0..MARTS {
        let storage = ["incremental", "view", "materialized_view"][number % 3];
        let _ = write!(
            spec,
            "\n[[mart]]\nname = \"vw_monthly_{number:03}\"\ndescription = \"What each place took each month.\"\n\
             storage = \"{storage}\"\nfrom = {{ sale = \"fact_sale_{number:03}\" }}\n\
             grain = [\n    {{ name = \"place_id\", of = \"sale.place_id\" }},\n    \
             {{ name = \"month\", of = \"sale.sold_at\", cut = \"month\" }},\n]\n\
             measures = [\n    \
             {{ name = \"revenue\", type = \"numeric(14,2)\", of = \"sale\", expr = \"sum(amount)\" }},\n    \
             {{ name = \"sales\", type = \"bigint\", of = \"sale\", expr = \"count(*)\" }},\n    \
             {{ name = \"buyers\", type = \"bigint\", of = \"sale\", expr = \"count(DISTINCT buyer_id)\" }},\n]\n"
        );
    }
    spec
}
