//! Joins over time against plain Rust: two histories and a third at every instant, and events with the
//! versions of their own time; now, and as of any time.

use std::cell::RefCell;
use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use crate::model::{BEGINNING, FOREVER, Row, periods};
use crate::support::Session;

/// Times by their numbers: midnights of the warehouse's zone, so that a day has one too.
const TIMES: &str = "
    SET timezone = 'UTC';
    CREATE FUNCTION public.t(number bigint) RETURNS timestamptz LANGUAGE sql IMMUTABLE
    AS $$ SELECT CASE number
        WHEN 9 THEN 'infinity'
        ELSE timestamptz '2024-01-01 00:00:00+01' + number * interval '1 day'
    END $$;
    CREATE TABLE public.moment AS SELECT number, t(number) AS t FROM generate_series(-1::bigint, 9) AS number;";

/// A version: its period, its name, and what it refers to.
#[derive(Clone, Debug)]
struct Version {
    start: i64,
    end: i64,
    name: String,
    site: Option<i64>,
    boss: Option<i64>,
}

type History = BTreeMap<i64, Vec<Version>>;

/// An event: its owner, its own time, and maybe a day.
type Visit = (Option<i64>, i64, Option<i64>);

#[derive(Clone, Debug)]
struct World {
    owners: History,
    sites: History,
    visits: Vec<Visit>,
}

fn histories() -> impl Strategy<Value = History> {
    let other = || prop::option::weighted(0.8, 0..3_i64);
    let version = (0..3_u8, other(), other());
    let versions = (periods(), prop::collection::vec(version, 6)).prop_map(|(periods, rows)| {
        let versions = periods.into_iter().zip(rows);
        versions
            .map(|((start, end), (name, site, boss))| Version {
                start,
                end,
                name: format!("n{name}"),
                site,
                boss,
            })
            .collect::<Vec<_>>()
    });
    prop::collection::vec(versions, 3).prop_map(|versions| (0..).zip(versions).collect())
}

fn world() -> impl Strategy<Value = World> {
    let visit =
        (prop::option::weighted(0.9, 0..3_i64), BEGINNING..FOREVER, prop::option::of(BEGINNING..FOREVER));
    (histories(), histories(), prop::collection::vec(visit, 0..6)).prop_map(|(owners, sites, visits)| World {
        owners,
        sites,
        visits,
    })
}

#[test]
fn every_stretch_and_every_event_has_the_versions_of_its_time() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let session = RefCell::new(runtime.block_on(async {
        let mut session = Session::alone("joins").await;
        session.does(TIMES).await;
        session
    }));
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(60);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&(world(), 0..FOREVER), |(world, then)| {
            runtime.block_on(check(&world, then, &mut session.borrow_mut())).map_err(TestCaseError::fail)
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

async fn check(world: &World, then: i64, session: &mut Session) -> Result<(), String> {
    session.does(&world.inserts()).await;
    session.does("RESET medallion.as_of").await;
    compare("now", world, "silver", session).await?;
    compare("as of now", world, "as_of", session).await?;
    session.does(&format!("SELECT set_config('medallion.as_of', t({then})::text, false)")).await;
    compare(&format!("as of {then}"), &world.known(then), "as_of", session).await
}

async fn compare(what: &str, world: &World, schema: &str, session: &mut Session) -> Result<(), String> {
    let numbered = |column: &str| format!("(SELECT number FROM moment WHERE t = {column})");
    let (start, end) = (numbered("sys_start"), numbered("sys_end"));
    let stretches =
        format!("SELECT id, name, city, boss, {start}, {end} FROM {schema}.owner_at_home ORDER BY 1, 5");
    let visits =
        format!("SELECT id, version, owner, owner_that_day FROM {schema}.visit_with_owner ORDER BY 1");
    for (question, expected) in [(stretches, world.stretches()), (visits, world.visits())] {
        let found = session.ask(&question).await;
        if found != expected {
            return Err(format!("{what}: {question}\nexpected {expected:?}\nfound {found:?}"));
        }
    }
    Ok(())
}

impl World {
    fn inserts(&self) -> String {
        let number = |number: Option<i64>| number.map_or("NULL".to_owned(), |number| number.to_string());
        let mut sql = "SELECT medallion.backfill();
            DELETE FROM silver.owner_hist; DELETE FROM medallion.site_hist; DELETE FROM silver.fact_visit;\n"
            .to_owned();
        for (id, version) in
            self.owners.iter().flat_map(|(id, versions)| versions.iter().map(move |v| (id, v)))
        {
            let Version { start, end, name, site, boss } = version;
            sql.push_str(&format!(
                "INSERT INTO silver.owner_hist VALUES ({id}, '{name}', {}, {}, '', t({start}), t({end}));\n",
                number(*site),
                number(*boss)
            ));
        }
        for (id, version) in
            self.sites.iter().flat_map(|(id, versions)| versions.iter().map(move |v| (id, v)))
        {
            let Version { start, end, name, .. } = version;
            sql.push_str(&format!(
                "INSERT INTO medallion.site_hist VALUES ({id}, '{name}', '', t({start}), t({end}));\n"
            ));
        }
        for (id, (owner, at, day)) in (0_i64..).zip(&self.visits) {
            sql.push_str(&format!(
                "INSERT INTO silver.fact_visit VALUES ({id}, t({at}), date '2024-01-01' + {}::integer, {}, t(0));\n",
                number(*day),
                number(*owner)
            ));
        }
        sql
    }

    /// What was known at a time: what ended later was the current version.
    fn known(&self, then: i64) -> Self {
        let known = |history: &History| {
            let mut history = history.clone();
            for versions in history.values_mut() {
                versions.retain(|version| version.start <= then);
                versions
                    .iter_mut()
                    .filter(|version| version.end > then)
                    .for_each(|version| version.end = FOREVER);
            }
            history
        };
        Self { owners: known(&self.owners), sites: known(&self.sites), visits: self.visits.clone() }
    }

    /// Instant by instant: as long as the same three versions hold, it is one stretch.
    fn stretches(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for (id, versions) in &self.owners {
            let mut open: Option<((i64, i64, i64), Row, i64)> = None;
            for now in 0..=FOREVER {
                let there = (now < FOREVER).then(|| self.together(versions, now)).flatten();
                let same = open.as_ref().map(|(held, ..)| held) == there.as_ref().map(|(held, _)| held);
                if !same && let Some((_, mut row, start)) = open.take() {
                    row.insert(0, Some(id.to_string()));
                    row.extend([Some(start.to_string()), Some(now.to_string())]);
                    rows.push(row);
                }
                if !same {
                    open = there.map(|(held, row)| (held, row, now));
                }
            }
        }
        rows
    }

    /// An owner's version at an instant with those of its site and its boss, told by their starts; and the row.
    fn together(&self, versions: &[Version], now: i64) -> Option<((i64, i64, i64), Row)> {
        let at = |versions: &[Version]| {
            versions.iter().find(|version| version.start <= now && now < version.end).cloned()
        };
        let owner = at(versions)?;
        let site = at(self.sites.get(&owner.site?)?)?;
        let boss = at(self.owners.get(&owner.boss?)?)?;
        let row = vec![Some(owner.name), Some(site.name), Some(boss.name)];
        Some(((owner.start, site.start, boss.start), row))
    }

    fn visits(&self) -> Vec<Row> {
        let owner_at = |owner: Option<i64>, time: i64| {
            let versions = self.owners.get(&owner?)?;
            let last = versions.iter().rfind(|version| version.start <= time);
            Some(last.or(versions.first())?.name.clone())
        };
        let visit = |(id, (owner, at, day)): (i64, &Visit)| {
            let that_day = day.and_then(|day| owner_at(*owner, day));
            vec![Some(id.to_string()), owner.map(|owner| owner.to_string()), owner_at(*owner, *at), that_day]
        };
        (0..).zip(&self.visits).map(visit).collect()
    }
}
