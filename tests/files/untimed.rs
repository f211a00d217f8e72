//! The law of files whose rows say no time: a row is so since its file was written, whatever else the file says of its
//! key, and however often it is read once more; and each line of a log lands once, wherever the log is moved to.

use std::fs::File;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use medallion_runtime::files::Portion;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use crate::fed::databases::{Ends, ends};
use crate::fed::law::{block_on, runner};
use crate::lake::Lake;

const SPEC: &str = r#"
    [warehouse]
    name = "shop"

    [[landing]]
    name = "br_catalogue"
    files = { path = "catalogue.json", format = "json_array" }
    key = ["id"]

    [[landing]]
    name = "br_log"
    files = { path = "logs/*.log", format = "json_lines", changed = "grown" }
    key = ["id"]

    [[dimension]]
    name = "dim_catalogue_hist"
    from = "br_catalogue"
    key = ["id"]
    columns = [{ name = "id", type = "integer" }, { name = "title", type = "integer" }]

    [[dimension]]
    name = "dim_log_hist"
    from = "br_log"
    key = ["id"]
    columns = [{ name = "id", type = "integer" }, { name = "title", type = "integer" }]
"#;

/// What a row says: its key, and a title.
type Said = (u8, usize);

#[derive(Clone, Debug)]
enum Step {
    /// The catalogue is another one.
    Written(Vec<Said>),
    /// Rows stand behind those that it has, and in the log.
    Appended(Vec<Said>),
    /// The log is moved away, and begun anew.
    Moved,
    /// Landing is broken off after so many points.
    Broken {
        after: usize,
    },
    Landed,
    Applied(Ends),
}

fn rows() -> impl Strategy<Value = Vec<Said>> {
    prop::collection::vec((0..4_u8, 0..3_usize), 1..12)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => rows().prop_map(Step::Written),
        3 => rows().prop_map(Step::Appended),
        2 => Just(Step::Moved),
        2 => (0..6_usize).prop_map(|after| Step::Broken { after }),
        3 => Just(Step::Landed),
        1 => ends().prop_map(Step::Applied),
    ]
}

#[test]
fn rows_without_times_land_once_and_in_their_order() {
    runner(6, 60)
        .run(&(rows(), prop::collection::vec(step(), 1..25)), |(first, steps)| {
            block_on(lives(first, &steps)).map_err(TestCaseError::fail)
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

async fn lives(first: Vec<Said>, steps: &[Step]) -> Result<(), String> {
    let mut lake = Lake::of(SPEC, Portion { rows: 3, bytes: 1 << 20 }).await;
    // Each version of the catalogue, and when it was written.
    let mut catalogues = vec![(0, first)];
    let (mut log, mut logged): (Vec<Said>, Vec<Said>) = Default::default();
    let mut moved = 0;
    put(&mut lake, &mut catalogues);
    land(&mut lake).await?;
    lake.apply().await?;
    let begun = lake.text("SELECT max(commit_ts)::text FROM bronze.br_catalogue").await;
    for step in steps {
        match step {
            Step::Written(rows) => {
                catalogues.push((0, rows.clone()));
                put(&mut lake, &mut catalogues);
            }
            Step::Appended(rows) => {
                let mut all = catalogues.last().map(|(_, rows)| rows.clone()).unwrap_or_default();
                all.extend(rows);
                catalogues.push((0, all));
                put(&mut lake, &mut catalogues);
                for (id, _) in rows {
                    log.push((*id, logged.len()));
                    logged.push((*id, logged.len()));
                }
                let text: String = log.iter().map(|said| format!("{}\n", object(said))).collect();
                lake.put("logs/a.log", text);
            }
            Step::Moved if !log.is_empty() => {
                moved += 1;
                let logs = lake.directory.path().join("logs");
                std::fs::rename(logs.join("a.log"), logs.join(format!("a.{moved}.log"))).unwrap();
                log.clear();
            }
            Step::Moved => {}
            Step::Broken { after } => lake.broken(*after).await,
            Step::Landed => land(&mut lake).await?,
            Step::Applied(ends) => lake.databases.apply(lake.warehouse, *ends).await?,
        }
    }
    land(&mut lake).await?;
    lake.apply().await?;

    let told = lake.text("SELECT concat_ws(' ', full_row ->> 'id', full_row ->> 'title') FROM bronze.br_log ORDER BY lsn, seq").await;
    let written: Vec<String> = logged.iter().map(|(id, title)| format!("{id} {title}")).collect();
    if told != written.join("\n") {
        return Err(format!("the log says\n{}\nand bronze\n{told}", written.join("\n")));
    }
    // Where a version broke off and became another one, nobody has read it.
    let landed = lake
        .text(
            "SELECT concat_ws(' ', (extract(epoch FROM modified) * 1000000)::bigint, rows)
            FROM medallion.landed_file
            WHERE landing = 'bronze.br_catalogue' AND state = 'landed'
            ORDER BY version",
        )
        .await;
    let mut before: &[Said] = &[];
    let mut is: [Option<usize>; 4] = [None; 4];
    let mut wanted: Vec<Said> = Vec::new();
    for (place, line) in landed.lines().enumerate() {
        let (time, rows) = line.split_once(' ').unwrap();
        let (time, rows): (u128, usize) = (time.parse().unwrap(), rows.parse().unwrap());
        let (_, all) = catalogues.iter().find(|(written, _)| *written == time).unwrap();
        if all.starts_with(before) && rows > all.len() - before.len() {
            return Err(format!("{rows} rows landed of {all:?}, of which {before:?} had landed"));
        }
        for (id, now) in is.iter_mut().enumerate() {
            let last = all.iter().rev().find(|said| usize::from(said.0) == id).map(|said| said.1);
            if last.is_some() && *now != last {
                *now = last;
                wanted.extend(last.filter(|_| place > 0).map(|title| (u8::try_from(id).unwrap(), title)));
            }
        }
        before = all;
    }
    wanted.sort_by_key(|said| said.0);
    let wanted: Vec<String> = wanted.iter().map(|(id, title)| format!("{id} {title}")).collect();
    let history = lake
        .text(&format!(
            "SELECT concat_ws(' ', id, title) FROM silver.dim_catalogue_hist WHERE sys_start > '{begun}' ORDER BY id, sys_start"
        ))
        .await;
    if history != wanted.join("\n") {
        return Err(format!("the catalogues say\n{}\nand silver\n{history}", wanted.join("\n")));
    }
    lake.counted().await?;
    lake.verified().await?;
    lake.end().await;
    Ok(())
}

fn object((id, title): &Said) -> String {
    format!("{{\"id\": {id}, \"title\": {title}}}")
}

/// Writes the last catalogue, and down when that was.
fn put(lake: &mut Lake, catalogues: &mut [(u128, Vec<Said>)]) {
    let Some((written, rows)) = catalogues.last_mut() else { return };
    let objects: Vec<String> = rows.iter().map(object).collect();
    lake.put("catalogue.json", format!("[{}]", objects.join(",\n")));
    let file = std::fs::metadata(lake.directory.path().join("catalogue.json")).unwrap();
    *written = file.modified().unwrap().duration_since(UNIX_EPOCH).unwrap().as_micros();
}

async fn land(lake: &mut Lake) -> Result<(), String> {
    lake.land().await.map(drop).map_err(|error| format!("{error:?}"))
}

/// A clock that runs ahead does not take the warehouse with it.
#[test]
fn a_file_from_the_future_is_so_from_now_on() {
    block_on(async {
        let mut lake = Lake::of(SPEC, Portion::default()).await;
        lake.put("catalogue.json", r#"[{"id": 1, "title": 1}]"#);
        let path = lake.directory.path().join("catalogue.json");
        let ahead = SystemTime::now() + Duration::from_hours(1_000);
        File::options().write(true).open(path).unwrap().set_modified(ahead).unwrap();
        let findings = lake.land().await.unwrap().findings;
        assert!(findings.iter().any(|finding| finding.contains("ahead of this clock")), "{findings:?}");
        lake.apply().await.unwrap();
        let is_believed =
            "SELECT (max(system_time) < now() + interval '6 minutes')::text FROM medallion.watermark";
        assert_eq!(lake.text(is_believed).await, "true");
        lake.end().await;
    });
}

/// What is said, unsaid and said again in files of several names is said again.
#[test]
fn what_goes_back_in_another_file_is_no_copy() {
    block_on(async {
        let spec = SPEC.replace("\"catalogue.json\"", "\"catalogue*.json\"");
        let mut lake = Lake::of(&spec, Portion::default()).await;
        for (name, title) in [("a", 1), ("b", 2), ("c", 1), ("d", 1)] {
            lake.put(&format!("catalogue_{name}.json"), format!("[{{\"id\": 1, \"title\": {title}}}]"));
            lake.land().await.unwrap();
        }
        lake.apply().await.unwrap();
        let said = "SELECT string_agg(title::text, ' ' ORDER BY sys_start) FROM silver.dim_catalogue_hist";
        assert_eq!(lake.text(said).await, "1 2 1");
        let states = "SELECT string_agg(state, ' ' ORDER BY path) FROM medallion.landed_file";
        assert_eq!(lake.text(states).await, "landed landed landed copy");
        lake.end().await;
    });
}
