//! Marts as a spec could have them, drawn: sources, joins, filters, grains that can be NULL, measures that add up and
//! measures that do not, windows over them.

use std::fmt::Write as _;

/// Numbers that follow from one that was drawn.
#[derive(Clone)]
pub struct Draws(pub u64);

impl Draws {
    /// A number below another.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % limit as u64).unwrap()
    }

    pub fn one<'t, T>(&mut self, of: &'t [T]) -> &'t T {
        &of[self.below(of.len())]
    }

    /// Once in so many times.
    pub fn rarely(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// Some of them, in their order; one at least where that is asked for.
    fn some<'t, T>(&mut self, of: &'t [T], at_least: usize, at_most: usize) -> Vec<&'t T> {
        let wanted = at_least + self.below(at_most - at_least + 1);
        let mut left = wanted;
        let mut some = Vec::new();
        for (place, one) in of.iter().enumerate() {
            if self.below(of.len() - place) < left {
                some.push(one);
                left -= 1;
            }
        }
        some
    }
}

/// A column of a grain: what it is called, and how it is said of a source; what it needs joined.
type Grain = (&'static str, &'static str, &'static str);

const SALE_GRAIN: &[Grain] = &[
    ("shop_id", "of = \"sale.shop_id\"", ""),
    ("month", "of = \"sale.sold_at\", cut = \"month\"", ""),
    ("day", "of = \"sale.sold_at\", cut = \"day\"", ""),
    ("kind_then", "of = \"sale.kind_then\"", ""),
    (
        "weekday",
        "expr = \"extract(isodow FROM sale.sold_at AT TIME ZONE 'Europe/Berlin')\", type = \"integer\", null = false",
        "",
    ),
    ("dear", "expr = \"sale.amount > 5\", type = \"boolean\"", ""),
    ("noted", "expr = \"upper(sale.note)\", type = \"text\"", ""),
    ("rebate", "of = \"sale.rebate\"", ""),
    ("town", "of = \"shop.town\"", "shop"),
    (
        "place",
        "expr = \"coalesce(shop.town, region.country, 'none')\", type = \"text\", null = false",
        "region",
    ),
    ("country", "of = \"region.country\"", "region"),
    ("kind", "of = \"item.kind\"", "item"),
];

const REFUND_GRAIN: &[Grain] = &[
    ("shop_id", "of = \"refund.shop_id\"", ""),
    ("month", "of = \"refund.refunded_on\", cut = \"month\"", ""),
    ("sold_in", "of = \"sold.sold_at\", cut = \"month\"", "sold"),
    ("town", "of = \"shop.town\"", "shop"),
    ("kind_then", "of = \"sold.kind_then\"", "sold"),
];

const SHOP_GRAIN: &[Grain] =
    &[("town", "of = \"shop.town\"", ""), ("country", "of = \"region.country\"", "region")];

/// A measure: what it is called, its type, and what it is.
type Measure = (&'static str, &'static str, &'static str);

/// Those that can be added.
const SALE_SUMS: &[Measure] = &[
    ("revenue", "numeric(12,2)", "sum(sale.amount)"),
    ("pieces", "bigint", "sum(sale.pieces)"),
    ("worth", "numeric(14,3)", "sum(sale.amount * sale.pieces - 1.5)"),
    ("rebates", "numeric(12,1)", "coalesce(sum(sale.rebate), 0)"),
    ("rebated", "bigint", "count(sale.rebate)"),
    ("many", "bigint", "count(*) FILTER (WHERE sale.pieces > 2)"),
    ("kinds", "bigint", "count(DISTINCT sale.kind_then)"),
    ("items", "bigint", "count(DISTINCT sale.item_id) FILTER (WHERE sale.pieces > 1)"),
    ("dearly", "numeric(12,2)", "coalesce(sum(sale.amount) FILTER (WHERE sale.amount > 5), 0)"),
];

/// What follows from two that can be added, and their names.
const SALE_MEANS: &[(Measure, &str, &str)] = &[
    (("mean", "numeric", "avg(sale.amount)"), "revenue", "rows"),
    (("mean_rounded", "numeric(10,2)", "round(avg(sale.amount), 2)"), "revenue", "rows"),
    (("mean_pieces", "numeric(12,5)", "avg(sale.pieces)"), "pieces", "rows"),
    (("mean_rebate", "numeric", "avg(sale.rebate)"), "rebates", "rebated"),
];

const SALE_OTHERS: &[Measure] = &[
    ("prices", "bigint", "count(DISTINCT sale.amount + 1)"),
    ("median", "numeric(8,2)", "percentile_disc(0.5) WITHIN GROUP (ORDER BY sale.amount)"),
    ("rebate_sum", "numeric(12,1)", "sum(sale.rebate)"),
    ("average", "numeric(10,2)", "round(avg(sale.amount), 2)"),
    ("each", "numeric(16,6)", "sum(sale.amount) / sum(sale.pieces)"),
    ("latest", "timestamptz", "max(sale.sold_at)"),
    ("notes", "text", "string_agg(sale.note, ',' ORDER BY sale.note, sale.sale_id)"),
];

const REFUND_MEASURES: &[Measure] = &[
    ("refunded", "numeric(12,2)", "sum(refund.amount)"),
    ("sales", "bigint", "count(DISTINCT refund.sale_id)"),
    ("largest", "numeric(8,2)", "max(refund.amount)"),
];

const SHOP_MEASURES: &[Measure] =
    &[("first_id", "integer", "min(shop.shop_id)"), ("regions", "bigint", "count(DISTINCT shop.region_id)")];

/// A mart, drawn; its name ends in the number.
pub fn mart(number: usize, draws: &mut Draws) -> String {
    let storage = if draws.rarely(8) { "materialized_view" } else { "incremental" };
    let mut text = format!("\n[[mart]]\nname = \"mart_{number}\"\nstorage = \"{storage}\"\n");
    match draws.below(6) {
        0 => across(draws, &mut text),
        1 => single(
            draws,
            &mut text,
            "refund = \"fact_refund\"",
            REFUND_GRAIN,
            (REFUND_MEASURES, &[]),
            "refund.amount > 2",
        ),
        2 => single(
            draws,
            &mut text,
            "shop = \"dim_shop\"",
            SHOP_GRAIN,
            (SHOP_MEASURES, &[]),
            "shop.shop_id > 1",
        ),
        _ => {
            let measures = if draws.rarely(2) { (SALE_SUMS, &[][..]) } else { (SALE_SUMS, SALE_OTHERS) };
            let filter = *draws.one(&["sale.pieces <> 3", "sale.note IS NULL OR sale.note <> 'a'"]);
            single(draws, &mut text, "sale = \"fact_sale\"", SALE_GRAIN, measures, filter);
        }
    }
    text
}

/// Two facts that meet at a grain.
fn across(draws: &mut Draws, text: &mut String) {
    writeln!(text, "from = {{ sale = \"fact_sale\", refund = \"fact_refund\" }}").unwrap();
    if draws.rarely(2) {
        writeln!(text, "filter = {{ sale = \"sale.pieces > 1\" }}").unwrap();
    }
    let mut grain = vec!["    { name = \"shop_id\", of = [\"sale.shop_id\", \"refund.shop_id\"] },"];
    if draws.rarely(2) {
        grain.push(
            "    { name = \"month\", of = [\"sale.sold_at\", \"refund.refunded_on\"], cut = \"month\" },",
        );
    } else {
        grain.push(
            "    { name = \"cheap\", type = \"boolean\", expr = { sale = \"amount < 5\", refund = \"amount < 4\" } },",
        );
    }
    writeln!(text, "grain = [\n{}\n]\nmeasures = [", grain.join("\n")).unwrap();
    for (name, data_type, expression) in draws.some(SALE_SUMS, 1, 3) {
        writeln!(text, "    {{ name = \"{name}\", type = \"{data_type}\", null = true, of = \"sale\", expr = \"{expression}\" }},")
            .unwrap();
    }
    writeln!(text, "    {{ name = \"refunds\", of = \"refund\", expr = \"count(*)\" }},").unwrap();
    writeln!(text, "    {{ name = \"rows\", of = \"sale\", expr = \"count(*)\" }},").unwrap();
    made(draws, text, "shop_id", "refunds");
    writeln!(text, "]").unwrap();
}

fn single(
    draws: &mut Draws,
    text: &mut String,
    from: &str,
    grain: &'static [Grain],
    (sums, others): (&'static [Measure], &'static [Measure]),
    filter: &str,
) {
    let alias = from.split(' ').next().unwrap();
    writeln!(text, "from = {{ {from} }}").unwrap();
    let columns = draws.some(grain, 1, 3);
    let joins = joins(draws, alias, &columns);
    if !joins.is_empty() {
        writeln!(text, "joins = [\n{joins}]").unwrap();
    }
    if draws.rarely(3) {
        writeln!(text, "filter = \"{filter}\"").unwrap();
    }
    writeln!(text, "grain = [").unwrap();
    for (name, said, _) in &columns {
        writeln!(text, "    {{ name = \"{name}\", {said} }},").unwrap();
    }
    writeln!(text, "]\nmeasures = [").unwrap();
    if !draws.rarely(4) || sums.is_empty() {
        writeln!(text, "    {{ name = \"rows\", expr = \"count(*)\" }},").unwrap();
    }
    let mut measures = draws.some(sums, 1, sums.len().min(3));
    measures.extend(draws.some(others, usize::from(!others.is_empty()), others.len().min(2)));
    let named = |name: &str| name == "rows" || measures.iter().any(|(known, ..)| *known == name);
    let means: Vec<&Measure> = SALE_MEANS
        .iter()
        .filter(|(_, sum, count)| named(sum) && named(count))
        .map(|(mean, ..)| mean)
        .filter(|_| !draws.rarely(3))
        .collect();
    for (name, data_type, expression) in measures.iter().chain(&means) {
        writeln!(
            text,
            "    {{ name = \"{name}\", type = \"{data_type}\", null = true, expr = \"{expression}\" }},"
        )
        .unwrap();
    }
    made(draws, text, columns[0].0, measures[0].0);
    writeln!(text, "]").unwrap();
    if draws.rarely(3) {
        writeln!(text, "order = [\"{} DESC\", \"{}\"]", measures[0].0, columns[0].0).unwrap();
    }
}

/// What a grain needs joined, and perhaps more.
fn joins(draws: &mut Draws, alias: &str, columns: &[&Grain]) -> String {
    let mut joins = String::new();
    let needs = |join: &str| columns.iter().any(|(.., needed)| *needed == join);
    let mut join = |draws: &mut Draws, name: &str, relation: &str, on: &str| {
        let required = if draws.rarely(3) { ", required = true" } else { "" };
        writeln!(joins, "    {{ name = \"{name}\", relation = \"{relation}\", on = [\"{on}\"]{required} }},")
            .unwrap();
    };
    let more = draws.rarely(4);
    match alias {
        "sale" => {
            if needs("shop") || needs("region") || more {
                join(draws, "shop", "dim_shop", "shop_id");
            }
            if needs("region") {
                join(draws, "region", "dim_region", "shop.region_id");
            }
            if needs("item") || more {
                join(draws, "item", "lookup_item", "sale.item_id");
            }
        }
        "refund" => {
            if needs("sold") || more {
                join(draws, "sold", "fact_sale", "sale_id");
            }
            if needs("shop") {
                join(draws, "shop", "dim_shop", "refund.shop_id");
            }
        }
        _ => {
            if needs("region") || more {
                join(draws, "region", "dim_region", "region_id");
            }
        }
    }
    joins
}

/// What is made of the groups.
fn made(draws: &mut Draws, text: &mut String, part: &str, measure: &str) {
    let over = if draws.rarely(3) { String::new() } else { format!("PARTITION BY {part} ") };
    let all = [
        ("standing", "bigint", format!("rank() OVER ({over}ORDER BY {measure} DESC)")),
        ("together", "bigint", format!("count({measure}) OVER ({over})")),
        ("above", "boolean", format!("{measure} > 3")),
    ];
    if !draws.rarely(2) {
        return;
    }
    let made = draws.some(&all, 1, 2);
    for (name, data_type, expression) in &made {
        writeln!(
            text,
            "    {{ name = \"{name}\", type = \"{data_type}\", null = true, expr = \"{expression}\" }},"
        )
        .unwrap();
    }
    if draws.rarely(2) {
        let (first, ..) = made[0];
        let expression = format!("count(*) OVER (PARTITION BY {first})");
        writeln!(text, "    {{ name = \"alike\", expr = \"{expression}\" }},").unwrap();
    }
}
