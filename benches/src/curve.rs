//! Curves as SVG files: a cost over a size, both on logarithmic scales, so that what grows with the size climbs and what
//! does not stays level. Knows no benchmark.

use plotters::prelude::*;

use crate::record::Curve;

/// Why a curve cannot be drawn.
pub type Error = Box<dyn std::error::Error>;

const WIDTH: u32 = 760;
const HEIGHT: u32 = 420;

/// The file's text.
pub fn svg(curve: &Curve) -> Result<String, Error> {
    let points = || curve.ways.iter().flat_map(|(_, points)| points);
    let range = |of: fn(&(f64, f64)) -> f64| {
        let least = points().map(of).fold(f64::INFINITY, f64::min);
        let most = points().map(of).fold(f64::NEG_INFINITY, f64::max);
        (least, most)
    };
    let ((left, right), (low, high)) = (range(|point| point.0), range(|point| point.1));
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, (WIDTH, HEIGHT)).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(&curve.title, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(76)
            .build_cartesian_2d((left * 0.9..right * 1.1).log_scale(), (low * 0.5..high * 2.0).log_scale())?;
        chart
            .configure_mesh()
            .x_desc(&curve.x)
            .y_desc("time")
            .x_label_formatter(&|rows| count(*rows))
            .y_label_formatter(&|seconds| duration(*seconds))
            .light_line_style(TRANSPARENT)
            .draw()?;
        for (place, (name, points)) in curve.ways.iter().enumerate() {
            let colour = Palette99::pick(place).to_rgba();
            chart
                .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)).point_size(3))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .draw()?;
        root.present()?;
    }
    Ok(text)
}

/// A number of rows, as people say it.
pub fn count(number: f64) -> String {
    match number {
        millions if millions >= 1e6 => format!("{} M", short(millions / 1e6)),
        thousands if thousands >= 1e3 => format!("{} K", short(thousands / 1e3)),
        few => short(few),
    }
}

/// Seconds, in the unit that suits them.
pub fn duration(seconds: f64) -> String {
    match seconds {
        minutes if minutes >= 120.0 => format!("{} min", short(minutes / 60.0)),
        long if long >= 1.0 => format!("{} s", short(long)),
        short_one if short_one >= 1e-3 => format!("{} ms", short(short_one * 1e3)),
        shortest => format!("{} µs", short(shortest * 1e6)),
    }
}

/// Three digits of it, or all that stand before the point.
pub fn short(number: f64) -> String {
    let places = match number.abs() {
        hundreds if hundreds >= 99.95 => 0,
        tens if tens >= 9.995 => 1,
        _ => 2,
    };
    let text = format!("{number:.places$}");
    match text.split_once('.') {
        Some((whole, zeros)) if zeros.bytes().all(|digit| digit == b'0') => whole.to_owned(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::{count, duration, svg};
    use crate::record::Curve;

    #[test]
    fn sizes_and_times_are_as_people_say_them() {
        assert_eq!(
            ["100", "7.20 K", "100 K", "10 M"],
            [100.0, 7.2e3, 1e5, 1e7].map(count).each_ref().map(|it| &**it)
        );
        assert_eq!(
            ["250 µs", "4.80 ms", "1.25 s", "10 min"],
            [0.00025, 0.0048, 1.25, 600.0].map(duration).each_ref().map(|it| &**it)
        );
    }

    #[test]
    fn a_curve_names_its_ways() {
        let ways = vec![
            ("medallion".to_owned(), vec![(1e5, 0.002), (1e6, 0.002)]),
            ("a neighbour".to_owned(), vec![(1e5, 1.0), (1e6, 12.0)]),
        ];
        let curve = Curve { name: "one".into(), title: "One row".into(), x: "rows".into(), ways };
        let drawn = svg(&curve).unwrap();
        for said in ["medallion", "a neighbour", "One row", "rows"] {
            assert!(drawn.contains(said), "{said}: {drawn}");
        }
    }
}
