//! `check`, by example and by law. A case is a folder of `tests/cases/check`: a spec, perhaps with files beside
//! it, and what is said of it. `MEDALLION_UPDATE=1` writes what is said now.

use std::fs;
use std::path::{Path, PathBuf};

use medallion::cli::{check, read, schema};
use medallion::finding::{Code, Colour, SourceText};
use medallion::model::{self, Definition, Piece};
use medallion::spec::Files;

/// The folders of the cases, below the package's folder, where tests run.
fn cases() -> Vec<PathBuf> {
    let folders = fs::read_dir("tests/cases/check").expect("the cases are there");
    let mut folders = folders.map(|entry| entry.expect("a folder can be listed").path()).collect::<Vec<_>>();
    folders.sort();
    folders
}

/// Compares a text with a file, or writes it.
fn compare(path: &Path, text: &str) -> Result<(), String> {
    if std::env::var_os("MEDALLION_UPDATE").is_some() {
        fs::write(path, text).expect("a fixture can be written");
        return Ok(());
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    if expected == text {
        return Ok(());
    }
    Err(format!("{} differs; it would be:\n{text}", path.display()))
}

#[test]
fn cases_say_what_they_said() {
    let differences = cases().into_iter().filter_map(|case| {
        let files = read::warehouse(&case).expect("a case can be read");
        compare(&case.join("expected.txt"), &check::human(&files, &model::load(&files), Colour::Plain)).err()
    });
    let differences = differences.collect::<Vec<_>>();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn every_code_has_a_case() {
    let expected =
        cases().into_iter().map(|case| fs::read_to_string(case.join("expected.txt")).unwrap_or_default());
    // What only a difference to the last migration shows has its cases with the migrations.
    let shown = fs::read_dir("tests/evolution/expected").expect("the cases of evolution are there");
    let shown =
        shown.map(|entry| fs::read_to_string(entry.expect("it can be read").path()).unwrap_or_default());
    let all = expected.chain(shown).collect::<String>();
    let without = Code::ALL.iter().filter(|code| !all.contains(&format!("error[{}]", code.number())));
    assert_eq!(without.collect::<Vec<_>>(), Vec::<&Code>::new());
}

#[test]
fn the_committed_schema_is_current() {
    compare(Path::new("spec/spec.schema.json"), &schema::text()).expect("run with MEDALLION_UPDATE=1");
}

/// What an editor that has the schema says of a spec.
fn of_an_editor(spec: &str) -> Vec<String> {
    let schema: serde_json::Value = serde_json::from_str(&schema::text()).expect("it is JSON");
    let validator = jsonschema::validator_for(&schema).expect("it is a schema");
    // JSON has no infinity.
    let spec = spec.replace("= inf", "= 1e300");
    let spec: toml::Table = spec.parse().expect("it is TOML");
    let spec = serde_json::to_value(spec).expect("it can be said in JSON");
    validator.iter_errors(&spec).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[test]
fn an_editor_has_nothing_against_what_check_accepts() {
    let folders = ["spec", "tests/cases/generate"].map(|folder| fs::read_dir(folder).expect("it is there"));
    let folders = folders.into_iter().flatten().map(|entry| entry.expect("it can be listed").path());
    let folders: Vec<PathBuf> = folders.filter(|folder| folder.is_dir()).chain(cases()).collect();
    let accepted = folders
        .iter()
        .filter(|folder| read::warehouse(folder).is_ok_and(|files| model::load(&files).is_ok()));
    let specs =
        accepted.map(|folder| fs::read_to_string(folder.join("spec.toml")).expect("a spec can be read"));
    let specs: Vec<String> = specs.collect();
    assert!(specs.len() > 10, "{}", specs.len());
    assert_eq!(specs.iter().flat_map(|spec| of_an_editor(spec)).collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn an_editor_sees_what_is_misspelt_or_of_another_type() {
    let said =
        of_an_editor("[warehouse]\nname = 3\ntime_zoen = 'UTC'\n[[landing]]\nname = 'br'\nkey = 'id'\n");
    let places = ["/warehouse: ", "/warehouse/name: ", "/landing/0: ", "/landing/0/key: "];
    for place in places {
        assert!(said.iter().any(|one| one.starts_with(place)), "nothing about {place} in {said:#?}");
    }
}

#[test]
fn findings_can_be_read_by_a_program() {
    let case = Path::new("tests/cases/check/everything_at_once");
    let files = read::warehouse(case).expect("a case can be read");
    let findings = model::load(&files).expect_err("the case has findings");
    compare(&case.join("expected.json"), &format!("{:#}\n", findings.json())).expect("the same as before");
}

/// Pagila's files, with another spec.
fn pagila(spec: impl Into<Vec<u8>>) -> Files {
    let files = read::warehouse(Path::new("spec/pagila")).expect("Pagila is there");
    Files { spec: SourceText::new("spec.toml", spec), ..files }
}

/// Looks at a warehouse in every way there is: nothing may panic.
fn look_at(files: &Files) {
    if let Err(findings) = model::load(files) {
        assert!(!findings.list().is_empty(), "a spec is refused for a reason");
        let _ = findings.human(Colour::Ansi);
        let _ = findings.json();
    }
}

/// Numbers that only look random: the same ones each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end.max(1) as u64).expect("less than an usize")
    }
}

/// Changes some bytes of a text: other bytes, bits of the text itself elsewhere, bits left out.
fn spoil(text: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    const SPITEFUL: [&[u8]; 16] = [
        b"\"",
        b"'",
        b"\"\"\"",
        b"[",
        b"]]",
        b"{",
        b"}",
        b"\n",
        b"\0",
        b"\xff",
        b"=",
        b".",
        b"\\u0000",
        b"#",
        "é".as_bytes(),
        b"\r",
    ];
    let mut spoilt = text.to_vec();
    for _ in 0..=numbers.below(4) {
        let from = numbers.below(spoilt.len());
        let to = (from + numbers.below(30)).min(spoilt.len());
        match numbers.below(4) {
            0 => drop(spoilt.drain(from..to)),
            1 => drop(spoilt.splice(from..from, SPITEFUL[numbers.below(SPITEFUL.len())].iter().copied())),
            2 => {
                let copied = spoilt[from..to].to_vec();
                let place = numbers.below(spoilt.len());
                drop(spoilt.splice(place..place, copied));
            }
            _ => spoilt[from..to].iter_mut().for_each(|byte| *byte = byte.wrapping_add(1)),
        }
    }
    spoilt
}

#[test]
fn no_bytes_panic() {
    let text = fs::read("spec/pagila/spec.toml").expect("Pagila is there");
    let mut numbers = Numbers(0x2545_f491_4f6c_dd1d);
    for _ in 0..200 {
        look_at(&pagila(spoil(&text, &mut numbers)));
    }
}

#[test]
fn no_bytes_in_a_query_panic() {
    let spec = fs::read("spec/pagila/spec.toml").expect("Pagila is there");
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for round in 0..200 {
        let mut files = pagila(spec.clone());
        let name = ["vw_top_titles.sql", "vw_store_scorecard.sql"][round % 2];
        let text = spoil(files.sql[name].text().as_bytes(), &mut numbers);
        files.sql.insert(name.to_owned(), SourceText::new(name, text));
        look_at(&files);
    }
}

#[test]
fn what_is_very_long_or_very_deep_does_no_harm() {
    let chains =
        ["a = [", "a = {a = ", "a.", "[a.", "[[a]]\n", "\"", "a = 1\n", "[", "é", "\t", "a = \"\"\"\n"];
    for chain in chains {
        look_at(&Files::alone("deep", SourceText::new("spec.toml", chain.repeat(100_000))));
    }
    let column = |data_type: &str| {
        format!(
            "[warehouse]\nname = \"a\"\n[[lookup]]\nname = \"l\"\nfrom = \"f\"\nkey = [\"k\"]\ncolumns = [{{ name = \"k\", type = \"{data_type}\" }}]\n"
        )
    };
    for data_type in ["[]", "x", "(", ",", "numeric("] {
        look_at(&Files::alone("deep", SourceText::new("spec.toml", column(&data_type.repeat(200_000)))));
    }
    let spec = fs::read("spec/pagila/spec.toml").expect("Pagila is there");
    let queries = [
        "(",
        "SELECT 1 + ",
        "SELECT 1 UNION ",
        "1::int",
        "[1]",
        "NOT ",
        "a.",
        "-- x\n",
        "é",
        "'",
        "CASE WHEN ",
        "WITH a AS (",
    ];
    for query in queries {
        let mut files = pagila(spec.clone());
        let query = format!("SELECT 1 {}", query.repeat(30_000));
        files.sql.insert("vw_top_titles.sql".to_owned(), SourceText::new("vw_top_titles.sql", query));
        look_at(&files);
    }
}

#[test]
fn another_order_of_the_tables_changes_nothing() {
    let text = fs::read_to_string("spec/pagila/spec.toml").expect("Pagila is there");
    let expected = model::load(&pagila(text.clone())).expect("Pagila is right");
    let mut tables = Vec::new();
    for line in text.split_inclusive('\n') {
        match tables.last_mut() {
            Some(last) if !line.starts_with('[') => *last += line,
            _ => tables.push(line.to_owned()),
        }
    }
    let mut numbers = Numbers(0xd1b5_4a32_d192_ed03);
    for _ in 0..20 {
        for index in (1..tables.len()).rev() {
            tables.swap(index, numbers.below(index + 1));
        }
        assert_eq!(model::load(&pagila(tables.concat())).as_ref(), Ok(&expected));
    }
}

#[test]
fn line_ends_and_a_byte_order_mark_change_nothing() {
    let text = fs::read_to_string("spec/pagila/spec.toml").expect("Pagila is there");
    let expected = model::load(&pagila(text.clone())).expect("Pagila is right");
    let other = format!("\u{feff}{}", text.replace('\n', "\r\n"));
    assert_eq!(model::load(&pagila(other)), Ok(expected));
}

#[test]
fn a_query_keeps_its_text_but_for_the_relations() {
    let mut files = pagila(fs::read("spec/pagila/spec.toml").expect("Pagila is there"));
    let query = "-- före\nWITH fact_rental AS (\n\tSELECT * FROM  \"fact_rental\" -- not itself\n), x AS (SELECT * FROM fact_rental)\n\
                 SELECT film_id, film_id AS month, 1 AS title, 1 AS rentals, 1 AS revenue, 1 AS average_days_out, 1 AS month_rank,\n\
                 '日本語 dim_film' AS utilisation /* dim_film */ FROM x, temporal_silver.DIM_FILM ; -- behind\n";
    files.sql.insert("vw_top_titles.sql".to_owned(), SourceText::new("vw_top_titles.sql", query));
    let spec = files
        .spec
        .text()
        .replace("of = [\"fact_rental.rental_date\", \"fact_payment.rental_date\"], cut = \"month\", ", "");
    files.spec = SourceText::new("spec.toml", spec);
    let warehouse =
        model::load(&files).unwrap_or_else(|findings| panic!("{}", findings.human(Colour::Plain)));
    let mart = warehouse.marts.iter().find(|mart| mart.name.name == "vw_top_titles").expect("it is there");
    let Definition::Sql(pieces) = &mart.definition else { panic!("it is written as SQL") };
    let text = pieces.iter().map(|piece| match piece {
        Piece::Sql(sql) => sql.clone(),
        Piece::Relation(name) => format!("<{}.{}>", name.schema, name.name),
    });
    let expected = query
        .replace("\"fact_rental\"", "<temporal_silver.fact_rental>")
        .replace("temporal_silver.DIM_FILM ;", "<temporal_silver.dim_film> ");
    assert_eq!(text.collect::<String>(), expected.trim_end());
    let reads = mart.reads.iter().map(|read| read.stored.name.as_str()).collect::<Vec<_>>();
    assert_eq!(reads, ["dim_film_hist", "fact_rental"]);
}
