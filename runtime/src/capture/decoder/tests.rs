//! The decoder on messages made here: what the server gives only at rare moments.

use super::super::position::{Epoch, Fence, State};
use super::super::preflight::Site;
use super::*;

/// A table of two text columns, `a` and `b`, under this replica identity.
fn relation(identity: [bool; 2]) -> Vec<u8> {
    let mut bytes = vec![b'R', 0, 0, 0, 7];
    bytes.extend(b"public\0item\0f\0\x02");
    for (name, part) in [b"a\0", b"b\0"].into_iter().zip(identity) {
        bytes.push(u8::from(part));
        bytes.extend(name);
        bytes.extend([0, 0, 0, 25, 255, 255, 255, 255]);
    }
    bytes
}

fn begin(lsn: i64, time: i64, xid: u32) -> Vec<u8> {
    let mut bytes = vec![b'B'];
    bytes.extend(lsn.to_be_bytes());
    bytes.extend(time.to_be_bytes());
    bytes.extend(xid.to_be_bytes());
    bytes
}

fn commit(lsn: i64) -> Vec<u8> {
    let mut bytes = vec![b'C', 0];
    bytes.extend(lsn.to_be_bytes());
    bytes.extend((lsn + 8).to_be_bytes());
    bytes.extend([0; 8]);
    bytes
}

/// A change of the table: its kind, then tuples, each with its own kind; `None` is a value not sent.
fn change(kind: u8, tuples: &[(u8, [Option<&str>; 2])]) -> Vec<u8> {
    let mut bytes = vec![kind, 0, 0, 0, 7];
    for (tuple, values) in tuples {
        bytes.extend([*tuple, 0, 2]);
        for value in values {
            match value {
                None => bytes.push(b'u'),
                Some(text) => {
                    bytes.push(b't');
                    bytes.extend(u32::try_from(text.len()).expect("short").to_be_bytes());
                    bytes.extend(text.as_bytes());
                }
            }
        }
    }
    bytes
}

fn landing(name: &str, key: &str) -> Landing {
    Landing::new(Name::new("bronze", name), Name::new("public", "item"), [key])
}

fn position(landed_to: i64) -> SourcePosition {
    SourcePosition {
        state: State::Streaming,
        site: Site { system_identifier: String::new(), database: String::new(), timeline: 1 },
        landed_to: Lsn(landed_to),
        epoch: Epoch::default(),
        last_lsn: Lsn(landed_to - 1),
        last_time: SystemTime(1_000),
        fence: None,
    }
}

fn decoding(landings: &[Landing], position: SourcePosition) -> Decoder<'_> {
    Decoder::new(landings, &[], position, Care::Usual)
}

fn take(decoder: &mut Decoder<'_>, messages: &[Vec<u8>]) -> Result<()> {
    for bytes in messages {
        match Message::read(bytes).expect("a message") {
            Message::Relation(relation) => decoder.describe(&relation, |_| Ok(Shape::Text))?,
            message => {
                decoder.take(message)?;
            }
        }
    }
    Ok(())
}

/// What landed of each row: position, op, seq, system time and JSON.
fn landed(decoder: &mut Decoder<'_>, landing: usize) -> Vec<(i64, char, i64, i64, String)> {
    let chunk = decoder.chunk(To::Landing(landing));
    let mut bytes = chunk.rows.bytes();
    let mut rows = Vec::new();
    while !bytes.is_empty() {
        bytes = &bytes[2..];
        let mut field = || {
            let (length, rest) = bytes.split_first_chunk().expect("a length");
            let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
            let (field, rest) = rest.split_at(length);
            bytes = rest;
            field.to_vec()
        };
        let number = |field: Vec<u8>| i64::from_be_bytes(field.try_into().expect("eight bytes"));
        let (lsn, op, json, time, seq) = (field(), field(), field(), field(), field());
        let json = String::from_utf8(json.into_iter().skip(1).collect()).expect("text");
        rows.push((number(lsn), char::from(op[0]), number(seq), number(time), json));
    }
    rows
}

#[test]
fn what_commits_below_the_landed_position_is_dropped_and_what_commits_at_it_lands() {
    let landings = [landing("item", "a")];
    let mut decoder = decoding(&landings, position(100));
    let row = change(b'I', &[(b'N', [Some("1"), Some("x")])]);
    for lsn in [90, 100, 110] {
        let messages = [begin(lsn, 5_000, 1), relation([true, true]), row.clone(), commit(lsn)];
        take(&mut decoder, &messages).expect("taken");
    }
    let rows = landed(&mut decoder, 0);
    let json = r#"{"a":"1","b":"x"}"#;
    assert_eq!(rows, [(100, 'I', 1, 5_000, json.to_owned()), (110, 'I', 1, 5_001, json.to_owned())]);
    assert_eq!(decoder.end, Lsn(118));
    assert_eq!(decoder.transactions, 2);
}

#[test]
fn what_the_snapshot_saw_is_dropped_below_its_end_only() {
    let landings = [landing("item", "a")];
    let mut start = position(100);
    start.fence = Some((Fence::read("10:20:15").expect("a fence"), Lsn(200)));
    let mut decoder = decoding(&landings, start);
    let row = change(b'I', &[(b'N', [Some("1"), Some("x")])]);
    for (lsn, xid) in [(110, 12), (120, 15), (130, 20), (200, 12)] {
        let messages = [begin(lsn, 0, xid), relation([true, true]), row.clone(), commit(lsn)];
        take(&mut decoder, &messages).expect("taken");
    }
    let positions: Vec<i64> = landed(&mut decoder, 0).into_iter().map(|row| row.0).collect();
    assert_eq!(positions, [120, 130, 200]);
}

#[test]
fn a_clock_far_ahead_is_capped_once_said() {
    let landings = [landing("item", "a")];
    let mut decoder = decoding(&landings, position(1));
    let row = change(b'I', &[(b'N', [Some("1"), Some("x")])]);
    let tomorrow = SystemTime::now().0 + 86_400 * 1_000_000;
    for lsn in [10, 20] {
        let messages = [begin(lsn, tomorrow, 1), relation([true, true]), row.clone(), commit(lsn)];
        take(&mut decoder, &messages).expect("taken");
    }
    let times: Vec<i64> = landed(&mut decoder, 0).into_iter().map(|row| row.3).collect();
    let limit = SystemTime(i64::MAX).capped().expect("ahead");
    assert!(times[0] < times[1] && times[1] <= limit.0 + 1, "{times:?}");
    assert_eq!(decoder.findings.len(), 1);
}

#[test]
fn each_landing_table_has_its_own_key() {
    let landings = [landing("by_a", "a"), landing("by_b", "b")];
    let mut decoder = decoding(&landings, position(1));
    let old = (b'O', [Some("1"), Some("x")]);
    let messages = [
        begin(10, 5_000, 1),
        relation([true, true]),
        change(b'U', &[old, (b'N', [Some("2"), None])]),
        change(b'D', &[(b'O', [Some("2"), Some("x")])]),
        commit(10),
    ];
    take(&mut decoder, &messages).expect("taken");
    let of = |rows: Vec<(i64, char, i64, i64, String)>| -> Vec<String> {
        rows.into_iter().map(|(_, op, seq, _, json)| format!("{op} {seq} {json}")).collect()
    };
    let by_a = of(landed(&mut decoder, 0));
    assert_eq!(by_a, [r#"D 1 {"a":"1","b":"x"}"#, r#"I 2 {"a":"2","b":"x"}"#, r#"D 3 {"a":"2","b":"x"}"#]);
    let by_b = of(landed(&mut decoder, 1));
    assert_eq!(by_b, [r#"U 1 {"a":"2","b":"x"}"#, r#"D 3 {"a":"2","b":"x"}"#]);
}

/// What of a row is told lands on the stage, with its key and the columns that are not.
#[test]
fn a_row_that_is_not_told_whole_goes_onto_the_stage() {
    let landings = [landing("item", "a")];
    let mut decoder = decoding(&landings, position(1));
    let start = [begin(10, 5_000, 1), relation([true, false])];
    take(&mut decoder, &start).expect("taken");
    take(&mut decoder, &[change(b'U', &[(b'N', [Some("1"), Some("y")])])]).expect("complete");
    let rows: Vec<String> = landed(&mut decoder, 0).into_iter().map(|row| row.4).collect();
    assert_eq!(rows, [r#"{"a":"1","b":"y"}"#]);
    assert_eq!(decoder.pending(), None);

    take(&mut decoder, &[change(b'U', &[(b'N', [Some("1"), None])])]).expect("by its key");
    assert_eq!(decoder.pending(), Some(To::Stage));
    let chunk = decoder.chunk(To::Stage);
    let staged = String::from_utf8_lossy(chunk.rows.bytes()).into_owned();
    assert!(staged.contains(r#"{"a":"1"}"#) && staged.ends_with('b'), "{staged:?}");
    assert_eq!(decoder.pending(), None);
}

#[test]
fn a_stream_out_of_order_is_refused() {
    let landings = [landing("item", "a")];
    let row = change(b'I', &[(b'N', [Some("1"), Some("x")])]);
    let described = relation([true, true]);
    let broken: [&[Vec<u8>]; 5] = [
        &[begin(20, 0, 1), described.clone(), row.clone(), commit(20), begin(20, 0, 2)],
        &[begin(20, 0, 1), begin(30, 0, 2)],
        &[commit(20)],
        &[begin(20, 0, 1), commit(21)],
        &[begin(20, 0, 1), row.clone()],
    ];
    for messages in broken {
        let mut decoder = decoding(&landings, position(1));
        assert!(take(&mut decoder, messages).is_err(), "{messages:?}");
    }
    let mut decoder = decoding(&landings, position(1));
    assert!(take(&mut decoder, &[described.clone(), row]).is_err(), "outside of a transaction");
    let mut decoder = decoding(&landings, position(1));
    take(&mut decoder, &[begin(20, 0, 1)]).expect("taken");
    assert!(decoder.finish().is_err(), "within a transaction");
}
