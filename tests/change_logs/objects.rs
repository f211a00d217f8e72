//! The same law over a bucket of a real server, and what is said where it cannot be written to.

use std::fs;
use std::path::Path;

use medallion_runtime::capture::extract::{Extractor, To};
use medallion_runtime::error::Result;
use medallion_runtime::files::{Pattern, Storage};

use crate::bucket::{Bucket, Key};
use crate::fed::breaks::Breaks;
use crate::fed::databases::Ends;
use crate::fed::law::block_on;
use crate::fed::warehouse::verified;
use crate::shop::{Shop, Specs};
use crate::tell_what_polls_have_seen;

#[test]
fn objects_of_changes_tell_what_polls_have_seen() {
    if let Some(bucket) = Bucket::shared() {
        tell_what_polls_have_seen(3, "", Some(bucket));
    }
}

/// Copies what is in a bucket into a directory.
pub async fn fetch(bucket: &Storage, directory: &Path) -> Result<()> {
    let (all, _) = bucket.list(&Pattern::new("*/*")).await?;
    for listed in all {
        let path = directory.join(&listed.path);
        assert!(listed.path.ends_with(".json"), "no object that is no batch: {}", listed.path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut fetched = bucket.fetch(&listed).await?.unwrap().file;
        std::io::copy(&mut fetched, &mut fs::File::create(&path).unwrap()).unwrap();
    }
    Ok(())
}

#[test]
fn a_batch_that_could_not_be_put_is_put_later_and_once() {
    let Some(bucket) = Bucket::shared() else { return };
    block_on(async {
        let mut shop = Shop::new(Specs::orders(), include_str!("../../spec/orders/source.sql")).await;
        shop.bucket = Some(bucket);
        let insert = "INSERT INTO orders (customer_id, product_id, quantity, unit_price, total_amount, last_updated) \
            VALUES (102, 202, 1, 49.50, 49.50, '2026-02-01 09:15+00')";
        sqlx::Executor::execute(&mut shop.source.session, insert).await.unwrap();
        let (polled, url, state) = (&shop.polled, &shop.source.url, shop.state());
        let begin = |place: String, key| async move {
            let bucket = bucket.storage(&place, key).unwrap();
            Extractor::begin(polled, url, To::Bucket { bucket, state }).await
        };
        // What may only list.
        let mut closed = begin(shop.place(), Key::Lists).await.unwrap();
        let error = closed.poll(&mut Breaks::default()).await.unwrap_err().to_string();
        let said = [
            "cannot write the file `orders/",
            "is closed to this key (AccessDenied)",
            "whether the key may write to the bucket",
        ];
        assert!(said.iter().all(|part| error.contains(part)), "{error}");
        drop(closed);
        // Not into another one.
        let error = begin(format!("{}/else", shop.place()), Key::Writes).await.err().unwrap().to_string();
        assert!(error.contains("and what was written so far is in `s3://lake/"), "{error}");

        shop.extract(None).await.unwrap();
        let files = shop.files();
        assert_eq!(files.len(), 1);
        // As if it had been killed right after: it is put again, and is the same.
        let name = files[0].file_name().unwrap().to_string_lossy().into_owned();
        let kept = shop.state().join("orders").join(format!(".{name}.part"));
        assert!(!kept.exists());
        fs::copy(&files[0], &kept).unwrap();
        let before = fs::read(&files[0]).unwrap();
        shop.extract(None).await.unwrap();
        assert_eq!((shop.files(), fs::read(&files[0]).unwrap()), (files, before));
        assert!(!kept.exists());

        shop.deliver_all();
        assert_eq!(shop.land(None).await.unwrap().rows(), 1);
        shop.reader.apply(&shop.fed, Ends::Well).await.unwrap();
        verified(&shop.fed, &mut shop.reader.target).await.unwrap();
        shop.end().await;
    });
}
