//! The laws of files over a bucket of a real server, and what is said where it cannot be read.

use std::fmt::Write as _;

use medallion_runtime::files::{Pattern, Portion, Storage};

use crate::bucket::{Bucket, Key};
use crate::fed::law::block_on;
use crate::in_any_order;
use crate::lake::{Lake, SPEC, expect};

#[test]
fn objects_in_any_order_give_the_history_of_their_rows() {
    if let Some(bucket) = Bucket::shared() {
        in_any_order(3, SPEC, Some(bucket));
    }
}

/// Whoever may only list them finds that nothing is new, for no object is read that has landed.
#[test]
fn objects_that_have_landed_are_not_read_again() {
    let Some(bucket) = Bucket::shared() else { return };
    block_on(async {
        let mut lake = Lake::new(Portion::default()).await;
        lake.bucket = Some(bucket);
        // Longer than a part of one.
        let rows = (0..200_000).fold(String::new(), |mut all, id| {
            let _ = writeln!(all, "{{\"id\": {id}, \"at\": \"2026-01-01T00:00:00Z\", \"some\": \"text\"}}");
            all
        });
        assert!(rows.len() > 8 << 20);
        lake.put("logs/a.log", &rows);
        lake.put("catalogue.json", r#"[{"id": 1, "title": "one"}]"#);
        // Nobody is writing to it, though its last line has no end.
        lake.put("fixed/a.csv", "1;a\n2;b\n3");
        let captured = lake.land().await.unwrap();
        assert_eq!(captured.rows(), 200_003);
        assert_eq!(captured.findings.len(), 1, "{:?}", captured.findings);
        let listing = bucket.storage(&format!("lake/{}", lake.name), Key::Lists).unwrap();
        assert_eq!(lake.land_from(listing.clone(), None).await.unwrap().rows(), 0);
        lake.put("logs/a.log", rows + "{\"id\": -1, \"at\": \"2026-01-01T00:00:00Z\"}\n");
        let error = lake.land_from(listing, None).await.unwrap_err().to_string();
        assert!(error.contains("is closed to this key (AccessDenied)"), "{error}");
        assert_eq!(lake.land().await.unwrap().rows(), 1);
        lake.end().await;
    });
}

/// Whoever may put an object may call it anything.
#[test]
fn objects_that_no_file_is_called_like_are_told_and_passed_by() {
    let Some(bucket) = Bucket::shared() else { return };
    block_on(async {
        let mut lake = Lake::new(Portion::default()).await;
        lake.bucket = Some(bucket);
        let odd = ["fixed/a\u{1}.csv", "fixed//b.csv", "fixed/../c.csv", "logs/\t/d.log", "\u{7f}"];
        for number in 0..9 {
            lake.put(&format!("fixed/{number}.csv"), format!("{number};a\n"));
            lake.put(
                &format!("logs/{number}.log"),
                format!("{{\"id\": {number}, \"at\": \"2026-01-01\"}}\n"),
            );
        }
        let file = lake.directory.path().join("fixed/0.csv");
        for name in odd {
            bucket.put(&format!("{}/{name}", lake.name), &file);
        }
        let captured = lake.land().await.unwrap();
        assert_eq!(captured.rows(), 18);
        for name in odd {
            let named = format!("a file `{}` in `s3://lake/{}` is passed by", name.escape_debug(), lake.name);
            let is_told = captured.findings.iter().any(|finding| finding.starts_with(&named));
            assert!(is_told, "{named}: {:?}", captured.findings);
        }
        lake.end().await;
    });
}

#[test]
fn a_bucket_that_cannot_be_read_is_told() {
    let Some(bucket) = Bucket::shared() else { return };
    let variables = |pairs: &[(&str, &str)]| {
        let pairs: Vec<_> =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        pairs.into_iter()
    };
    let keys = [("AWS_ACCESS_KEY_ID", "an_id"), ("AWS_SECRET_ACCESS_KEY", "a_secret")];
    let nowhere = [keys[0], keys[1], ("AWS_ENDPOINT_URL", "http://user:a_password@127.0.0.1:1")];
    let half = [keys[0]];
    let odd = [keys[0], keys[1], ("AWS_CA_BUNDLE", "no/such/file.pem")];
    let told = [
        ("no bucket of the name", bucket.storage("none/a", Key::Writes)),
        ("a key that is not known", bucket.storage("lake/a", Key::Unknown)),
        ("another secret", bucket.storage("lake/a", Key::Mistyped)),
        ("no server", Storage::with("s3://lake", variables(&nowhere))),
        ("no key", Storage::with("s3://lake", variables(&[]))),
        ("half a key", Storage::with("s3://lake", variables(&half))),
        ("no certificates", Storage::with("s3://lake", variables(&odd))),
        ("a key in the URL", Storage::with("s3://an_id:a_secret@lake/a", variables(&keys))),
        ("no bucket", Storage::with("s3:///a", variables(&keys))),
        ("another kind of storage", Storage::with("gs://an_id:a_secret@lake/a", variables(&keys))),
    ];
    let mut text = String::new();
    for (what, storage) in told {
        let listed = storage.and_then(|storage| block_on(storage.list(&Pattern::new("*.csv"))));
        let error = listed.unwrap_err();
        let _ = writeln!(text, "{what}\n{error}\n");
        // A watch waits for a server, and for nothing else.
        assert_eq!(error.is_passing(), what == "no server", "{error}");
    }
    assert!(!text.contains("a_secret") && !text.contains("a_password"), "{text}");
    expect("refused.txt", &text);
}
