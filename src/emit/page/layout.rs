//! Where relations stand in the graph: ranks from the source to the marts, and an order within each in which few
//! lines cross. A crate for layered graphs does it; here is what it is told.

use std::collections::{BTreeMap, BTreeSet};

use rust_sugiyama::configure::{Config, CrossingMinimization, RankingType};

use crate::emit::lineage::Lineage;
use crate::model::Name;

/// Where a relation stands.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Place {
    /// How many steps it is from the source at most.
    pub(super) rank: usize,
    /// How far down, in heights of a relation.
    pub(super) y: f64,
}

/// From so many relations on, no more time is spent on single crossings.
const LARGE: usize = 150;

/// A place for each relation, in their order.
pub(super) fn places(lineage: &Lineage) -> Vec<Place> {
    let numbers: BTreeMap<&Name, u32> = lineage.relations.iter().map(|one| &one.name).zip(0..).collect();
    let mut edges = BTreeSet::new();
    for (relation, own) in lineage.relations.iter().zip(0..) {
        let origins = relation.columns.iter().flat_map(|column| &column.from).chain(&relation.rows);
        edges.extend(origins.filter_map(|one| Some((*numbers.get(&one.relation)?, own))));
    }
    let vertices: Vec<(u32, (f64, f64))> =
        (0..).zip(&lineage.relations).map(|(number, _)| (number, (1.0, 1.0))).collect();
    let edges: Vec<(u32, u32)> = edges.into_iter().filter(|(from, to)| from != to).collect();
    let config = Config {
        minimum_length: 1,
        vertex_spacing: 0.35,
        dummy_vertices: true,
        dummy_size: 0.5,
        ranking_type: RankingType::Up,
        c_minimization: CrossingMinimization::Barycenter,
        transpose: lineage.relations.len() < LARGE,
    };
    let mut parts = rust_sugiyama::from_vertices_and_edges(&vertices, &edges, &config);
    // Parts that hang together, one below the other: the largest first, then by their first relation.
    let first = |part: &[(usize, (f64, f64))]| part.iter().map(|(number, _)| *number).min();
    parts.sort_by_key(|(part, ..)| (std::cmp::Reverse(part.len()), first(part)));
    let mut places = vec![Place::default(); lineage.relations.len()];
    let mut below = 0.0;
    for (part, ..) in parts {
        let ranks: BTreeSet<i64> = part.iter().map(|(_, (_, rank))| thousandths(*rank)).collect();
        let top = part.iter().map(|(_, (across, _))| *across).fold(f64::INFINITY, f64::min);
        let mut bottom: f64 = below;
        for (number, (across, rank)) in part {
            let rank = ranks.range(..thousandths(rank)).count();
            let y = below + round(across - top);
            bottom = bottom.max(y);
            if let Some(place) = places.get_mut(number) {
                *place = Place { rank, y: round(y) };
            }
        }
        below = bottom + 1.35;
    }
    places
}

fn round(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

#[allow(clippy::cast_possible_truncation, reason = "a place in a picture is far below the limit")]
fn thousandths(number: f64) -> i64 {
    (number.abs() * 1_000.0).round() as i64
}
