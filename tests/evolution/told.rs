//! Lives of a warehouse that are told rather than drawn: what a chain of changes does to the history that it holds.

use medallion::emit;

use super::catalog::psql;
use super::drawn::{Column, LOUD};
use super::lived::{Life, loaded};
use super::past;
use super::source::Draws;

/// A warehouse whose dimension is versioned, with rows that its source has never had.
fn written() -> Life {
    let mut life = Life::begin();
    life.spec.relations[0].versioned = true;
    life.migrate().unwrap();
    life.run().unwrap();
    for sql in [
        "INSERT INTO silver.dim_customer_hist (customer_id, code, region, name) VALUES (9000001, 'w1', 1, 'Wim')",
        "INSERT INTO silver.dim_customer_hist (customer_id, code, region, name) VALUES (9000002, 'w2', 2, 'Wes')",
        "UPDATE silver.dim_customer_hist SET name = 'Wam' WHERE customer_id = 9000001",
        "DELETE FROM silver.dim_customer_hist WHERE customer_id = 9000002",
    ] {
        asked(&life, sql);
    }
    life
}

fn asked(life: &Life, sql: &str) -> String {
    psql(&life.place.warehouse, sql).trim().to_owned()
}

const WRITTEN: &str = "
    SELECT customer_id, name, sys_start, sys_end FROM silver.dim_customer_hist WHERE customer_id > 9000000 ORDER BY 1, 3";

/// Every version of the customers, as it was told by what is called `email` there.
fn versions(life: &Life) -> String {
    asked(
        life,
        "SELECT customer_id, code, name, email, points, sys_start, sys_end
        FROM silver.dim_customer_hist ORDER BY customer_id, sys_start",
    )
}

#[test]
fn a_column_that_went_and_came_again_has_its_history() {
    let mut life = Life::begin();
    let mut draws = Draws(3);
    life.run().unwrap();
    let mut traffic = |life: &mut Life, transactions: usize| {
        for _ in 0..transactions {
            life.change(&mut draws);
        }
        life.run().unwrap();
        life.holds().unwrap();
    };
    traffic(&mut life, 30);
    let before = versions(&life);
    let told = |version: &str| -> Vec<String> { version.split('|').map(str::to_owned).collect() };
    let changes = before.lines().zip(before.lines().skip(1)).filter(|(one, next)| {
        let (one, next) = (told(one), told(next));
        one[0] == next[0] && one[3] != next[3]
    });
    assert_ne!(changes.count(), 0, "nobody's address has changed:\n{before}");
    let at = life.spec.relations[0].columns.iter().position(|one| one.field == "email").unwrap();
    let mut email = life.spec.relations[0].columns.remove(at);
    life.spec.dropped.push("dim_customer_hist.email".to_owned());
    life.migrate().unwrap();
    traffic(&mut life, 10);
    // What changed in between is known as well, though nobody asked for it then.
    let known = |life: &Life| {
        let sql = "SELECT count(*) FROM silver.dim_customer_hist WHERE email IS NOT NULL";
        asked(life, sql).parse::<u32>().unwrap()
    };
    life.spec.settle();
    email.backfill = true;
    life.spec.relations[0].columns.push(email);
    life.migrate().unwrap();
    assert_eq!(known(&life), 0);
    life.run().unwrap();
    life.holds().unwrap();
    let after = versions(&life);
    // All that had ended before the column went is what it was; what had not has ended since, or not.
    for version in before.lines() {
        let begun = version.rsplit_once('|').unwrap().0;
        let is_kept =
            if version.ends_with("|infinity") { after.contains(begun) } else { after.contains(version) };
        assert!(is_kept, "{version} is not in\n{after}");
    }
    assert!(known(&life) > 0);
    traffic(&mut life, 10);
}

/// A dimension comes to be read through a staging view, which computes a column of it: first from now on, then by another
/// expression, then with its past, until what is read is a landing table again.
#[test]
fn what_is_computed_of_what_has_landed_goes_along() {
    let mut life = Life::begin();
    let mut draws = Draws(5);
    life.run().unwrap();
    let mut go_on = |life: &mut Life, what: &str| {
        life.migrate().unwrap_or_else(|error| panic!("{what}: {error}"));
        for _ in 0..5 {
            life.change(&mut draws);
        }
        life.run().unwrap_or_else(|error| panic!("{what}: {error}"));
        life.holds().unwrap_or_else(|error| panic!("{what}: {error}"));
        life.spec.settle();
    };
    go_on(&mut life, "as it was");
    life.spec.relations[0].staged = true;
    go_on(&mut life, "staged");
    let mut loud = Column::new(LOUD, true);
    loud.since = Some(life.times.len());
    life.spec.relations[0].columns.push(loud);
    go_on(&mut life, "from now on");
    for expression in [1, 2] {
        life.spec.relations[0].columns.last_mut().unwrap().expression = expression;
        go_on(&mut life, "another expression");
    }
    let gone = life.spec.relations[0].columns.pop().unwrap();
    life.spec.dropped.push(format!("dim_customer_hist.{}", gone.name()));
    go_on(&mut life, "gone");
    let mut loud = Column::new(LOUD, true);
    loud.backfill = true;
    life.spec.relations[0].columns.insert(0, loud);
    go_on(&mut life, "with its past");
    assert_ne!(asked(&life, "SELECT count(*) FROM silver.dim_customer_hist WHERE loud IS NOT NULL"), "0");
    let gone = life.spec.relations[0].columns.remove(0);
    life.spec.dropped.push(format!("dim_customer_hist.{}", gone.name()));
    life.spec.relations[0].staged = false;
    go_on(&mut life, "landed");
}

#[test]
fn what_others_have_written_goes_where_the_spec_says_so_and_nowhere_else() {
    let mut life = written();
    let stood = asked(&life, WRITTEN);
    assert_eq!(stood.lines().count(), 3, "{stood}");
    life.spec.settle();
    life.spec.relations[0].versioned = false;
    let why = life.migrate().unwrap_err();
    assert!(why.contains("Journal"), "{why}");
    assert_eq!(asked(&life, WRITTEN), stood);

    life.spec.dropped.push("dim_customer_hist.journal".to_owned());
    let planned = emit::plan(&loaded(&life.spec).unwrap(), &past(&life.files)).unwrap();
    let lost = planned[0].up.iter().filter(|step| step.hazards.contains(&medallion::plan::Hazard::DataLoss));
    let lost: Vec<&str> = lost.map(|step| step.sql.as_str()).collect();
    assert_eq!(lost, ["DROP TABLE \"medallion\".\"dim_customer_hist_journal\";"]);
    life.migrate().unwrap();
    life.run().unwrap();
    life.holds().unwrap();
    assert_eq!(asked(&life, WRITTEN), "");
    assert_eq!(emit::plan(&loaded(&life.spec).unwrap(), &past(&life.files)), Ok(Vec::new()));
}

#[test]
fn what_others_have_written_outlives_another_key() {
    for key in [1, 2] {
        let mut life = written();
        let stood = asked(&life, WRITTEN);
        life.spec.settle();
        life.spec.relations[0].key = key;
        life.migrate().unwrap();
        life.run().unwrap();
        assert_eq!(asked(&life, WRITTEN), stood, "key {key}");
    }
}
