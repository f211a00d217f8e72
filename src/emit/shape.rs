//! What becomes of rows that shall stand otherwise than before: those of other partitions, of another key. Reads models
//! as the lock keeps them, for the way back as for the way there.

use serde_json::Value;

use super::evolution::title;
use super::sql::{self, Parting};
use crate::model::{Name, TOOL_SCHEMA};
use crate::plan::decision::Decisions;
use crate::plan::{self, Hazard, Step};

/// The relations of silver, as one state of the warehouse has them.
pub(super) struct Shape<'m> {
    silver: &'m [Value],
    zone: &'m str,
}

impl<'m> Shape<'m> {
    pub(super) fn of(model: &'m Value) -> Self {
        Self {
            silver: model["silver"].as_array().map_or(&[], Vec::as_slice),
            zone: model["time_zone"].as_str().unwrap_or("UTC"),
        }
    }

    /// The tables that hold a relation's rows, quoted.
    pub(super) fn tables(&self, name: &Name) -> Vec<String> {
        let fact =
            self.silver.iter().find(|one| called(&one["name"]) == *name).map(|one| &one["kind"]["Fact"]);
        let archive = fact.filter(|fact| fact.is_object()).map(|fact| called(&fact["archive"]));
        [Some(name.clone()), archive].into_iter().flatten().map(|name| sql::relation(&name)).collect()
    }

    /// The PL/pgSQL that makes a table's partitions for the rows of another one, where it is split.
    pub(super) fn parting(&self, table: &str, source: &str) -> Option<String> {
        let silver = self.silver.iter().find(|one| sql::relation(&called(&one["name"])) == table)?;
        Some(Parting::of(silver, self.zone)?.making(source))
    }

    /// The steps after all others: partitions that are cut anew, keys that what has landed has to bear out.
    fn steps<'n>(
        &self,
        regrouped: impl Iterator<Item = Name>,
        rekeyed: impl Iterator<Item = (Name, &'n [String], &'n [String])>,
    ) -> Vec<Step> {
        let mut steps = Vec::new();
        for (landing, before, now) in rekeyed {
            let remark = "-- What has landed has to bear the key out.\n".to_owned();
            let step = Step::about(&title(&landing), sql::rekeyed(&landing, before, now));
            let step = step.locking(plan::Lock::AccessShare, sql::relation(&landing));
            steps.push(Step { remark, hazards: vec![Hazard::Scan], ..step });
        }
        for name in regrouped {
            let silver = self.silver.iter().find(|one| called(&one["name"]) == name);
            let Some(parting) = silver.and_then(|silver| Parting::of(silver, self.zone)) else { continue };
            let remark = "-- Its rows move to partitions of another width.\n".to_owned();
            let step = Step::about(&title(&name), parting.regroup());
            let step = step.locking(plan::Lock::AccessExclusive, parting.table());
            steps.push(Step { remark, hazards: vec![Hazard::Rewrite], ..step });
        }
        steps
    }

    /// The same, for what was decided, on the way up.
    pub(super) fn up(&self, decisions: &Decisions) -> Vec<Step> {
        let rekeyed = decisions.rekeyed.iter();
        self.steps(
            decisions.regrouped.iter().cloned(),
            rekeyed.map(|(landing, before, now)| (landing.clone(), before.as_slice(), now.as_slice())),
        )
    }

    /// And on the way back.
    pub(super) fn down(&self, decisions: &Decisions) -> Vec<Step> {
        let rekeyed = decisions.rekeyed.iter();
        self.steps(
            decisions.regrouped.iter().map(|name| decisions.before(name)),
            rekeyed
                .map(|(landing, before, now)| (decisions.before(landing), now.as_slice(), before.as_slice())),
        )
    }
}

fn called(name: &Value) -> Name {
    let part = |word: &str| name[word].as_str().unwrap_or(TOOL_SCHEMA).to_owned();
    Name::new(part("schema"), part("name"))
}
