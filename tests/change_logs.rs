//! The law of change logs, on a real server: whatever is written to a source, wherever its extraction or the landing is
//! broken off, and however the files are delivered (in any order, twice, renamed, half written first), the warehouse
//! that reads them says what the source had at each poll, and the same as one that polls.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod fed;

#[path = "files/bucket.rs"]
#[allow(dead_code, reason = "the law of files needs more of it")]
mod bucket;
#[path = "change_logs/objects.rs"]
mod objects;
#[path = "change_logs/shop.rs"]
mod shop;
#[path = "change_logs/told.rs"]
mod told;

use std::fs;

use bucket::Bucket;
use fed::databases::{APART, Ends, ends};
use fed::law::{block_on, runner};
use fed::orders::{Written, as_of, late, written};
use fed::warehouse::verified;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use shop::{Shop, Specs};

/// What happens at the source, to the files, or in the warehouse.
#[derive(Clone, Debug)]
enum Step {
    /// Something is written: a price may change and not say so by a later time.
    Written(Written),
    /// It is only seen when its time of change is a while ago.
    Late { written: Written, seconds: u8 },
    /// Both look at the source: the warehouse that polls, and the one that writes files.
    Poll,
    /// The same, and writing files is broken off first.
    Broken { after: usize },
    /// What was written is forgotten: all of it is told again.
    Forgotten,
    /// A file is there under a name.
    Delivered { file: usize, name: u8 },
    /// A part of it is.
    Begun { file: usize, name: u8, part: u8 },
    /// What is there lands, and is broken off.
    LandingBroken { after: usize },
    /// What is there lands: in a run, or in a watch that goes on.
    Landed { begins: bool },
    /// Silver is brought up.
    Applied(Ends),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        11 => written(20).prop_map(Step::Written),
        1 => late(20).prop_map(|(written, seconds)| Step::Late { written, seconds }),
        4 => Just(Step::Poll),
        2 => (0..6_usize).prop_map(|after| Step::Broken { after }),
        1 => Just(Step::Forgotten),
        6 => (0..12_usize, 0..3_u8).prop_map(|(file, name)| Step::Delivered { file, name }),
        2 => (0..12_usize, 0..3_u8, 0..100_u8).prop_map(|(file, name, part)| Step::Begun { file, name, part }),
        2 => (0..6_usize).prop_map(|after| Step::LandingBroken { after }),
        2 => any::<bool>().prop_map(|begins| Step::Landed { begins }),
        2 => ends().prop_map(Step::Applied),
    ]
}

#[test]
fn files_of_changes_tell_what_polls_have_seen() {
    tell_what_polls_have_seen(5, "", None);
}

#[test]
fn files_of_changes_that_land_in_a_database_of_their_own_do_so_too() {
    tell_what_polls_have_seen(5, APART, None);
}

fn tell_what_polls_have_seen(usual: u32, bronze: &str, bucket: Option<&'static Bucket>) {
    runner(usual, 40)
        .run(&prop::collection::vec(step(), 10..70), |steps| {
            block_on(lives(&steps, bronze, bucket)).map_err(TestCaseError::fail)
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

async fn lives(steps: &[Step], bronze: &str, bucket: Option<&'static Bucket>) -> Result<(), String> {
    let mut shop = Shop::new(Specs::law(bronze), include_str!("polling/source.sql")).await;
    shop.bucket = bucket;
    // What the source had at each poll.
    let mut polls: Vec<(String, String)> = Vec::new();
    for step in steps {
        match step {
            Step::Poll => polls.push(shop.poll().await?),
            Step::Broken { after } => {
                // What a kill left is seen by the other one too: it looks at the same source.
                let _ = shop.extract(Some(*after)).await;
                polls.push(shop.poll().await?);
            }
            Step::Forgotten => {
                polls.push(shop.poll().await?);
                fs::remove_dir_all(shop.state().join(".medallion")).unwrap();
            }
            Step::Late { written, seconds } => {
                let since = shop.source.ago(*seconds).await;
                polls.retain(|(time, _)| *time < since);
                shop.source.write(written).await;
            }
            Step::Written(written) => shop.source.write(written).await,
            Step::Delivered { file, name } => shop.deliver(*file, *name, 100),
            Step::Begun { file, name, part } => shop.deliver(*file, *name, *part),
            Step::LandingBroken { after } => shop.land_broken(*after).await,
            Step::Landed { begins } => {
                if *begins {
                    shop.reader.begin().await;
                }
                shop.land(None).await.map_err(|error| format!("{error:?}"))?;
            }
            Step::Applied(ends) => shop.reader.apply(&shop.fed, *ends).await?,
        }
    }
    polls.push(shop.poll().await?);
    // In the end all of them have come, and what was begun has ended.
    shop.deliver_all();
    shop.land(None).await.map_err(|error| format!("{error:?}"))?;
    shop.reader.apply(&shop.fed, Ends::Well).await?;
    shop.poller.apply(&shop.polled, Ends::Well).await?;
    for (time, state) in &polls {
        let was = as_of(&mut shop.reader.target, time).await;
        if was != *state {
            return Err(format!("as of {time} the source had\n{state}\nand the files say\n{was}"));
        }
    }
    shop.tells_the_same().await?;
    shop.landed_once().await?;
    verified(&shop.fed, &mut shop.reader.target).await?;
    shop.reader.assert_landed_apart(&shop.fed).await;
    // All of it again, under other names.
    for file in 0..shop.files().len() {
        shop.deliver(file, 7, 100);
    }
    let again = shop.land(None).await.map_err(|error| format!("{error:?}"))?;
    if again.rows() > 0 || !again.findings.is_empty() {
        return Err(format!("landed again: {again:?}"));
    }
    shop.end().await;
    Ok(())
}
