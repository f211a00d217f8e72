//! The law of files, on a real server: any files, delivered in any order, under any names, again and again, half
//! written first, and wherever landing is broken off, give the history that their rows tell; and each line has landed
//! or is in quarantine with its file and number.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod fed;

#[path = "files/bucket.rs"]
mod bucket;
#[path = "files/drawn.rs"]
mod drawn;
#[path = "files/lake.rs"]
mod lake;
#[path = "files/objects.rs"]
mod objects;
#[path = "files/parquet.rs"]
mod parquet;
#[path = "files/told.rs"]
mod told;
#[path = "files/untimed.rs"]
mod untimed;

use bucket::Bucket;
use drawn::{KINDS, Line, content, line, path, wanted};
use fed::databases::{APART, Ends, ends};
use fed::law::{block_on, runner};
use lake::{Lake, SPEC};
use medallion_runtime::files::Portion;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

/// What happens to the files, or to the warehouse.
#[derive(Clone, Debug)]
enum Step {
    /// A file is there under a name.
    Delivered { kind: usize, file: usize, name: u8 },
    /// A part of it is.
    Begun { kind: usize, file: usize, name: u8, part: u8 },
    /// Landing is broken off after so many points.
    Broken { after: usize },
    /// All that is there lands: in a run, or in a watch that goes on.
    Landed { begins: bool },
    /// Silver is brought up.
    Applied(Ends),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..KINDS.len(), 0..3_usize, 0..3_u8).prop_map(|(kind, file, name)| Step::Delivered { kind, file, name }),
        2 => (1..KINDS.len(), 0..3_usize, 0..3_u8, 0..100_u8)
            .prop_map(|(kind, file, name, part)| Step::Begun { kind, file, name, part }),
        3 => (0..6_usize).prop_map(|after| Step::Broken { after }),
        2 => any::<bool>().prop_map(|begins| Step::Landed { begins }),
        2 => ends().prop_map(Step::Applied),
    ]
}

#[test]
fn files_in_any_order_give_the_history_of_their_rows() {
    in_any_order(6, SPEC, None);
}

#[test]
fn files_that_land_in_a_database_of_their_own_do_so_too() {
    in_any_order(6, &format!("{SPEC}{APART}"), None);
}

fn in_any_order(usual: u32, spec: &str, bucket: Option<&'static Bucket>) {
    let drawn = (prop::collection::vec(line(), 1..60), prop::collection::vec(step(), 1..25));
    runner(usual, 60)
        .run(&drawn, |(lines, steps)| {
            block_on(lives(spec, &lines, &steps, bucket)).map_err(TestCaseError::fail)
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

async fn lives(
    spec: &str,
    lines: &[Line],
    steps: &[Step],
    bucket: Option<&'static Bucket>,
) -> Result<(), String> {
    let mut lake = Lake::of(spec, Portion { rows: 3, bytes: 1 << 20 }).await;
    lake.bucket = bucket;
    for step in steps {
        match step {
            Step::Delivered { kind, file, name } => {
                lake.put(&path(*kind, *file, *name), content(lines, *kind, *file));
            }
            // Objects are put whole.
            Step::Begun { .. } if bucket.is_some() => {}
            Step::Begun { kind, file, name, part } => {
                let whole = content(lines, *kind, *file);
                let part = whole.len() * usize::from(*part) / 100;
                lake.put(&path(*kind, *file, *name), &whole[..part]);
            }
            Step::Broken { after } => lake.broken(*after).await,
            Step::Landed { begins } => {
                if *begins {
                    lake.databases.begin().await;
                }
                lake.land().await.map_err(|error| format!("{error:?}"))?;
            }
            Step::Applied(ends) => lake.databases.apply(lake.warehouse, *ends).await?,
        }
    }
    // In the end all of them have come.
    for kind in 0..KINDS.len() {
        for file in 0..3 {
            for name in 0..3 {
                let path = path(kind, file, name);
                if name == 0 || lake.directory.path().join(&path).exists() {
                    lake.put(&path, content(lines, kind, file));
                }
            }
        }
    }
    lake.land().await.map_err(|error| format!("{error:?}"))?;
    lake.apply().await?;
    for (kind, name) in KINDS.iter().enumerate() {
        let history = lake.history(&format!("silver.dim_{name}_hist")).await;
        let wanted = wanted(lines, kind);
        if history != wanted {
            return Err(format!("the rows of {name} tell\n{wanted}\nand silver says\n{history}"));
        }
    }
    lake.counted().await?;
    lake.quarantined(lines).await?;
    lake.verified().await?;
    lake.databases.assert_landed_apart(lake.warehouse).await;
    lake.end().await;
    Ok(())
}
