//! What the tool itself takes, as its users run it, over specs of 10, 100 and 1,000 relations: `check`, the first
//! `generate`, one that finds nothing to do, `plan` of a change, and the `generate` that writes it. No database. The specs
//! are drawn up here: landing tables, lookups, dimensions, facts and marts in the proportions of a real one.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use tempfile::TempDir;

use crate::record::{Curve, Goal, Line, Record, Spread};
use crate::scale::Scale;
use crate::{Error, stopwatch};

/// The tool, which stands beside this program.
const PROGRAM: &str = "medallion";

/// How many of each there are.
#[derive(Clone, Copy)]
struct Shape {
    landings: usize,
    lookups: usize,
    dimensions: usize,
    facts: usize,
    marts: usize,
}

impl Shape {
    fn of(relations: usize) -> Self {
        let tenth = relations / 10;
        let (landings, dimensions, lookups, marts) = (4 * tenth, 5 * tenth / 2, tenth, tenth);
        let facts = relations - landings - dimensions - lookups - marts;
        // A fact is fed by a landing table that no dimension has.
        Self { landings: landings.max(dimensions + facts), lookups, dimensions, facts, marts }
    }
}

/// What is asked of the tool, and the most that it may take of a thousand relations.
struct Step {
    what: &'static str,
    arguments: &'static [&'static str],
    most: f64,
    before: Before,
}

/// What is made so before each.
#[derive(Clone, Copy, PartialEq)]
enum Before {
    /// Nothing has been generated.
    Empty,
    /// What the spec says has been generated.
    Generated,
    /// The spec has changed since.
    Changed,
}

const STEPS: [Step; 5] = [
    Step { what: "check", arguments: &["check"], most: 0.5, before: Before::Generated },
    Step { what: "the first generate", arguments: &["generate"], most: 1.0, before: Before::Empty },
    Step {
        what: "a generate with nothing to do",
        arguments: &["generate"],
        most: 1.0,
        before: Before::Generated,
    },
    Step { what: "a plan of a new column", arguments: &["plan"], most: 0.5, before: Before::Changed },
    Step {
        what: "the generate of a new column",
        arguments: &["generate"],
        most: 1.0,
        before: Before::Changed,
    },
];

pub async fn measure(scale: Scale) -> Result<Record, Error> {
    let sizes: &[usize] = scale.of(&[10], &[10, 100], &[10, 100, 1000]);
    let mut record = Record::default();
    let mut ways: Vec<(String, Vec<(f64, f64)>)> =
        STEPS.iter().map(|step| (step.what.to_owned(), Vec::new())).collect();
    for &relations in sizes {
        let project = Project::new(relations)?;
        for (step, (_, points)) in STEPS.iter().zip(&mut ways) {
            let mut seconds = Vec::new();
            // The first time warms.
            for run in 0..=scale.runs {
                project.prepare(step.before)?;
                let running = stopwatch::start();
                project.run(step.arguments)?;
                let took = running.stop();
                seconds.extend((run > 0).then_some(took));
            }
            let line = Line::alone(&format!("{}, {relations} relations", step.what), &seconds);
            // Said of what is built as users have it.
            let is_held = relations >= 1000 && !cfg!(debug_assertions);
            record
                .lines
                .extend(line.map(|line| if is_held { line.goal(Goal::Seconds(step.most)) } else { line }));
            #[expect(clippy::cast_precision_loss, reason = "relations are few")]
            points.extend(Spread::of(seconds).map(|spread| (relations as f64, spread.median)));
        }
    }
    if sizes.len() > 1 {
        let (title, x) = ("The tool over growing specs".to_owned(), "relations".to_owned());
        record.curves.push(Curve { name: "tool".to_owned(), title, x, ways });
    }
    Ok(record)
}

/// A spec in a folder of its own.
struct Project {
    folder: TempDir,
    before: String,
    after: String,
}

impl Project {
    fn new(relations: usize) -> Result<Self, Error> {
        let folder = tempfile::tempdir()?;
        fs::create_dir_all(folder.path().join("spec/large"))?;
        let before = large(Shape::of(relations));
        let city = "    { name = \"city\", type = \"text\", null = true },\n";
        let after = before.replacen(city, &format!("{city}{}", city.replace("city", "phone")), 1);
        if before == after {
            return Err("there is no column to put another one behind".into());
        }
        Ok(Self { folder, before, after })
    }

    fn prepare(&self, what: Before) -> Result<(), Error> {
        let spec = self.folder.path().join("spec/large/spec.toml");
        fs::write(&spec, &self.before)?;
        if what == Before::Empty {
            for generated in ["generated", "migration"] {
                let folder = self.folder.path().join(generated);
                if folder.exists() {
                    fs::remove_dir_all(folder)?;
                }
            }
            return Ok(());
        }
        self.run(&["generate", "--squash"])?;
        if what == Before::Changed {
            fs::write(&spec, &self.after)?;
        }
        Ok(())
    }

    fn run(&self, arguments: &[&str]) -> Result<(), Error> {
        let program = std::env::current_exe()?.with_file_name(PROGRAM);
        if !program.exists() {
            return Err(format!(
                "{} is not there\n  = build the whole workspace: `make bench` does",
                program.display()
            )
            .into());
        }
        let output = Command::new(program)
            .current_dir(self.folder.path())
            .args(arguments)
            .env_remove("MEDALLION_SPEC")
            .output()?;
        if output.status.success() {
            return Ok(());
        }
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        Err(format!("{arguments:?}: {said}").into())
    }
}

/// The spec.
fn large(shape: Shape) -> String {
    let mut spec = String::from(
        "[warehouse]\nname = \"large\"\ndescription = \"As many relations as a company has.\"\n\n\
         [roles]\nloader = \"large_loader\"\nreader = \"large_reader\"\n\n\
         [types]\nmood = [\"fine\", \"fair\", \"foul\"]\n",
    );
    for number in 0..shape.landings {
        let _ = write!(
            spec,
            "\n[[landing]]\nname = \"br_thing_{number:03}_cdc\"\ndescription = \"Every change of a thing.\"\n\
             from = \"thing_{number:03}\"\nkey = [\"thing_id\"]\n"
        );
    }
    for number in 0..shape.lookups {
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
    for number in 0..shape.dimensions {
        let place = number % shape.lookups;
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
    for number in 0..shape.facts {
        let (landing, place) = (shape.dimensions + number, number % shape.lookups);
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
    for number in 0..shape.marts {
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
