//! Captured tables that are called otherwise for a while, or a column of their key is. What is written to one then cannot
//! land, and is missed where it has its name again: which ones these are is kept here. Knows no row.

use std::collections::{BTreeMap, BTreeSet};

use super::{Decoder, Fed};
use crate::capture::position::Lsn;

/// What has gone astray.
#[derive(Default)]
pub(super) struct Astray {
    /// The landing tables of a relation that is called otherwise now, by its id.
    away: BTreeMap<u32, Vec<usize>>,
    /// Those of which something was missed.
    missed: BTreeSet<usize>,
    /// Those of which that has not been told.
    untold: BTreeSet<usize>,
}

impl Astray {
    /// A relation comes by another name than a captured table's.
    pub fn leaves(&mut self, relation: u32, tables: &[Fed]) {
        let is_of = |fed: &Fed| fed.brings.as_ref().is_some_and(|brings| brings.oid == i64::from(relation));
        let of = tables.iter().enumerate().filter(|(_, fed)| is_of(fed)).map(|(at, _)| at);
        self.away.insert(relation, of.collect());
    }

    /// A relation comes by a captured table's name.
    pub fn returns(&mut self, relation: u32) {
        self.away.remove(&relation);
    }

    /// A relation comes without a column of a landing table's key: such a row could not be told from others.
    pub fn loses_key(&mut self, relation: u32, landing: usize) {
        self.away.entry(relation).or_default().push(landing);
    }

    /// A relation is changed.
    pub fn misses(&mut self, relation: u32, commit: Lsn, xid: u32, tables: &[Fed]) {
        for at in self.away.get(&relation).into_iter().flatten() {
            let takes = tables.get(*at).is_none_or(|fed| fed.takes(relation, commit, xid));
            if takes && self.missed.insert(*at) {
                self.untold.insert(*at);
            }
        }
    }

    /// Whether a landing table takes a transaction's changes of a relation. Once something was missed, what follows would
    /// stand on what is not there.
    pub fn takes(&self, landing: usize, relation: u32, commit: Lsn, xid: u32, tables: &[Fed]) -> bool {
        let is_of = tables.get(landing).is_none_or(|fed| fed.takes(relation, commit, xid));
        is_of && !self.missed.contains(&landing)
    }

    /// The landing tables that have missed something since this was asked the last time.
    pub fn tell(&mut self) -> BTreeSet<usize> {
        std::mem::take(&mut self.untold)
    }
}

impl Decoder<'_> {
    /// Which landing tables have missed something; of their tables nothing more lands.
    pub fn missed(&mut self) -> &mut BTreeSet<usize> {
        &mut self.astray.missed
    }
}
