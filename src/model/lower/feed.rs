//! Landing tables that files feed: which files, and how they are read. Knows no silver relation, and no place where
//! files are.

use super::catalog::Landing;
use super::report::Report;
use super::{change_log, identity, names};
use crate::finding::{Code, Finding};
use crate::model::{Changed, Csv, Feed, FeedFormat};
use crate::spec::{self, At};

/// What stands where a source table has its schema.
pub(super) const SCHEMA: &str = "files";

/// Which files feed a landing table; none where a source table does.
pub(super) fn lower(landing: &Landing<'_>, report: &mut Report<'_>) -> Option<Feed> {
    let written = landing.feed?;
    let from = landing.from.map(|from| ("from", &from.span));
    let watermark = landing.watermark.map(|column| ("watermark", &column.span));
    let deletes = landing.deletes.map(|deletes| ("deletes", &deletes.span));
    let snapshot = landing.snapshot.map(|snapshot| ("snapshot", &snapshot.span));
    for (name, span) in from.into_iter().chain(watermark).chain(deletes).chain(snapshot) {
        let place = report.at(span);
        let message =
            format!("`{name}` is about a source table, and files feed `{}`", landing.declared.value);
        report.push(
            Finding::new(Code::KeysDisagree, message, place)
                .help(format!("leave `{name}` out, or leave `files` out")),
        );
    }
    let (path, format) = (written.path.as_ref()?, written.format.as_ref()?);
    check_path(path, report);
    if let Some(time) = &written.time {
        names::check(time, "the field of the time", report);
        change_log::check_time(format, time, report);
    }
    Some(Feed {
        path: path.value.clone(),
        format: self::format(format, written, report),
        changed: changed(format, written, report),
        time: written.time.as_ref().map(|time| time.value.clone()),
        time_zone: written.time_zone.as_ref().and_then(|zone| time_zone(zone, written, format, report)),
    })
}

/// The zone of times that come without one; UTC is none.
fn time_zone(
    zone: &At<String>,
    written: &spec::Feed,
    format: &At<spec::FeedFormat>,
    report: &mut Report<'_>,
) -> Option<String> {
    if written.time.is_none() && format.value != spec::FeedFormat::ChangeLog {
        let place = report.at(&zone.span);
        report.push(
            Finding::new(
                Code::KeysDisagree,
                "`time_zone` is about the time of a row, which no field tells",
                place,
            )
            .help("add `time = \"field\"`, or leave `time_zone` out"),
        );
    }
    identity::check_zone(zone, report);
    (zone.value != "UTC").then(|| zone.value.clone())
}

fn changed(format: &At<spec::FeedFormat>, written: &spec::Feed, report: &mut Report<'_>) -> Changed {
    let Some(changed) = &written.changed else { return Changed::Reread };
    match changed.value {
        spec::Changed::Reread => Changed::Reread,
        spec::Changed::Refuse => Changed::Refused,
        spec::Changed::Grown => {
            let grows = matches!(format.value, spec::FeedFormat::Csv | spec::FeedFormat::JsonLines);
            if !grows {
                let place = report.at(&changed.span);
                report.push(
                    Finding::new(Code::KeysDisagree, "a file that has an end cannot grow", place)
                        .label("only files of lines can be appended to")
                        .help("write `changed = \"reread\"`"),
                );
            }
            Changed::Grown
        }
    }
}

fn format(format: &At<spec::FeedFormat>, written: &spec::Feed, report: &mut Report<'_>) -> FeedFormat {
    if format.value != spec::FeedFormat::Csv {
        let texts = [("delimiter", &written.delimiter), ("quote", &written.quote)];
        let texts = texts.into_iter().filter_map(|(name, text)| Some((name, text.as_ref()?.span.clone())));
        let null = written.null.as_ref().and_then(|null| Some(("null", null.0.first()?.span.clone())));
        let texts = texts.chain(null);
        let columns = written.columns.as_ref().map(|columns| ("columns", columns.span.clone()));
        for (name, span) in texts.chain(columns) {
            let place = report.at(&span);
            report.push(
                Finding::new(Code::KeysDisagree, format!("`{name}` is about CSV"), place)
                    .help(format!("leave `{name}` out, or write `format = \"csv\"`")),
            );
        }
    }
    match format.value {
        spec::FeedFormat::Csv => FeedFormat::Csv(csv(written, report)),
        spec::FeedFormat::JsonLines => FeedFormat::JsonLines,
        spec::FeedFormat::JsonArray => FeedFormat::JsonArray,
        spec::FeedFormat::ChangeLog => FeedFormat::ChangeLog,
        spec::FeedFormat::Parquet => FeedFormat::Parquet,
    }
}

fn csv(written: &spec::Feed, report: &mut Report<'_>) -> Csv {
    let mut character = |text: &Option<At<String>>, name: &str, usual: char| {
        let Some(text) = text else { return usual };
        let mut characters = text.chars();
        match (characters.next(), characters.next()) {
            (Some(one), None) if one.is_ascii() && !matches!(one, '\n' | '\r' | '\0') => one,
            _ => {
                let place = report.at(&text.span);
                report.push(
                    Finding::new(Code::WrongShape, format!("`{}` is no {name}", text.value), place)
                        .label("one ASCII character, and not the end of a line"),
                );
                usual
            }
        }
    };
    let delimiter = character(&written.delimiter, "delimiter", ',');
    let quote = character(&written.quote, "quote", '"');
    if let (true, Some(text)) = (delimiter == quote, written.quote.as_ref().or(written.delimiter.as_ref())) {
        let place = report.at(&text.span);
        report.push(Finding::new(Code::KeysDisagree, "delimiter and quote are the same", place));
    }
    let columns = written.columns.as_ref().map_or(&[][..], |columns| &columns.value);
    if let (true, Some(columns)) = (columns.is_empty(), &written.columns) {
        let place = report.at(&columns.span);
        report.push(
            Finding::new(Code::WrongShape, "`columns` names no field", place)
                .help("leave `columns` out where the first line has the names"),
        );
    }
    for (index, column) in columns.iter().enumerate() {
        if let Some(first) = columns[..index].iter().find(|earlier| *earlier == column) {
            let place = report.at(&column.span);
            let message = format!("the field `{}` is there twice", column.value);
            let first = report.at(&first.span);
            report.push(Finding::new(Code::DuplicateName, message, place).also(first, "the first one"));
        }
    }
    Csv {
        delimiter,
        quote,
        null: written.null.as_ref().map_or_else(
            || vec![String::new()],
            |null| null.0.iter().map(|text| text.value.clone()).collect(),
        ),
        columns: columns.iter().map(|column| column.value.clone()).collect(),
    }
}

/// A path below the place that the environment names: whole names between slashes, none of which leads out of it.
fn check_path(path: &At<String>, report: &mut Report<'_>) {
    let says = if path.contains("://") {
        "a path below the place that `FILES_URL` names when the warehouse runs"
    } else if path.starts_with('/') {
        "a path below that place begins with no slash"
    } else if path.is_empty() || path.split('/').any(str::is_empty) {
        "a name has to stand between two slashes"
    } else if path.split('/').any(|part| part == "." || part == "..") {
        "no path leads out of the place where the files are"
    } else if path.chars().any(char::is_control) {
        "no control characters"
    } else if path.split('/').any(|part| part.contains("**") && part != "**") {
        "`**` stands alone between two slashes"
    } else if path.ends_with("**") {
        "a file's name has to stand at the end: `**/*.csv`"
    } else {
        return check_fields(path, report);
    };
    let place = report.at(&path.span);
    report.push(
        Finding::new(Code::WrongShape, format!("`{}` is no path of files", path.value), place).label(says),
    );
}

/// Fields that folders' names tell, `date=*`, are told once each.
fn check_fields(path: &At<String>, report: &mut Report<'_>) {
    let folders = path.split('/').rev().skip(1);
    let mut fields: Vec<&str> = folders.filter_map(|folder| folder.strip_suffix("=*")).collect();
    fields.sort_unstable();
    if let Some(twice) = fields.windows(2).find(|pair| pair[0] == pair[1]) {
        let place = report.at(&path.span);
        let message = format!("two folders tell the field `{}`", twice[0]);
        report.push(Finding::new(Code::DuplicateName, message, place));
    }
}
