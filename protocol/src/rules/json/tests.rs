use proptest::prelude::*;
use serde_json::Value;

use super::*;

const BOUND: usize = 1000;

fn pointers(texts: &[&str]) -> Vec<Pointer> {
    texts.iter().map(|text| Pointer::parse(text).unwrap()).collect()
}

fn value<'a>(text: &'a str, pointer: &str) -> Option<&'a str> {
    let found = find(text.as_bytes(), &pointers(&[pointer]), BOUND).unwrap();
    found.first(0).map(|span| &text[span])
}

fn is_refused(text: &[u8], pointer: &str) -> bool {
    find(text, &pointers(&[pointer]), BOUND).is_err()
}

#[test]
fn values_are_found_where_a_pointer_says() {
    let text = r#" {"a": [1, {"b/c": "x", "~": null}], "": true, "n":-1.5e+3} "#;
    for (pointer, wanted) in [
        ("/a/0", Some("1")),
        ("/a/1/b~1c", Some("\"x\"")),
        ("/a/1/~0", Some("null")),
        ("/", Some("true")),
        ("/n", Some("-1.5e+3")),
        ("/a/2", None),
        ("/a/00", None),
        ("/a/b", None),
        ("", Some(text.trim())),
    ] {
        assert_eq!(value(text, pointer), wanted, "{pointer}");
    }
}

#[test]
fn a_star_finds_the_values_of_all_elements() {
    let text = r#"[{"id":1},{"x":2},{"id":"b"}]"#;
    let found = find(text.as_bytes(), &pointers(&["/*/id"]), BOUND).unwrap();
    assert_eq!(found.all(0).map(|span| &text[span]).collect::<Vec<_>>(), ["1", "\"b\""]);
}

#[test]
fn more_values_than_the_bound_are_refused() {
    let found = |bound| find(b"[[1],[2],[3]]", &pointers(&["/*/0"]), bound);
    assert!(found(3).is_ok() && found(2).is_err());
}

#[test]
fn what_two_readers_could_read_in_two_ways_is_refused() {
    for text in [
        r#"{"a":1,"a":2}"#,
        r#"{"a":1,"\u0061":2}"#,
        r#"{"\u0061":1}"#,
        r#"{"a":1} x"#,
        r#"{"a":1}{"a":2}"#,
        r#"{"a":01}"#,
        r#"{"a":1,}"#,
        r#"{"a":+1}"#,
        r#"{"a":"x"#,
        r#"{'a':1}"#,
        r#"{"a":.5}"#,
        r#"{"a":tru}"#,
        r#"{"a":"\x"}"#,
        "{\"a\":\"\n\"}",
        r#"{"a" 1}"#,
        "",
        "]",
        "\u{feff}{}",
    ] {
        assert!(is_refused(text.as_bytes(), "/a"), "{text}");
    }
    assert!(is_refused(b"{\"a\":\"\xff\"}", "/a"));
    let deep = |depth| "[".repeat(depth) + &"]".repeat(depth);
    assert!(is_refused(deep(MAX_DEPTH + 1).as_bytes(), "/a") && !is_refused(deep(MAX_DEPTH).as_bytes(), "/a"));
}

#[test]
fn names_that_stand_twice_elsewhere_do_not_matter() {
    assert_eq!(value(r#"{"x":{"a":1,"a":2,"\u0061":3},"a":4}"#, "/a"), Some("4"));
}

#[test]
fn bad_pointers_are_named() {
    assert!(Pointer::parse("a").unwrap_err().contains("begin with /"));
    assert!(Pointer::parse("/~2").unwrap_err().contains("0 or 1"));
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(|number| serde_json::json!(number)),
        any::<i32>().prop_map(|number| serde_json::json!(f64::from(number) / 4.0)),
        ".{0,8}".prop_map(Value::String),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::btree_map("[abc]|.{0,3}", inner, 0..5).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn eight_bytes_at_once_find_what_one_at_a_time_finds(text in prop::collection::vec(prop_oneof![
        4 => any::<u8>(), 1 => Just(b'"'), 1 => Just(b'\\'), 1 => 0x1eu8..0x24, 8 => Just(b'x'),
    ], 0..40)) {
        let slow = text.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..0x20)).unwrap_or(text.len());
        prop_assert_eq!(plain(&text), slow);
    }

    #[test]
    fn what_is_found_is_what_serde_json_finds(value in json(), pretty: bool, tokens in prop::collection::vec("[abc012]", 0..4)) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let pointer: String = tokens.iter().map(|token| format!("/{token}")).collect();
        match find(text.as_bytes(), &pointers(&[&pointer]), BOUND) {
            Ok(found) => {
                let ours = found.first(0).map(|span| serde_json::from_str::<Value>(&text[span]).unwrap());
                prop_assert_eq!(ours.as_ref(), value.pointer(&pointer));
            }
            // serde_json escapes names only if they need it.
            Err(Ambiguous) => prop_assert!(text.contains('\\')),
        }
    }

    #[test]
    fn no_text_is_taken_that_serde_json_refuses(text in "[\\[\\]{}\",:0-9a.e+\\- tn\\\\u]{0,24}") {
        if find(text.as_bytes(), &pointers(&["/a"]), BOUND).is_ok() {
            // A number beyond what it can hold is JSON all the same.
            let refused = serde_json::from_str::<Value>(&text).err().map(|error| error.to_string());
            prop_assert!(refused.as_ref().is_none_or(|error| error.contains("out of range")), "{:?}", refused);
        }
    }

    #[test]
    fn a_string_means_what_serde_json_reads(text in ".{0,12}") {
        let written = serde_json::to_string(&text).unwrap();
        let escaped: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
        for written in [written, format!("\"{escaped}\"")] {
            let mut meaning = Vec::new();
            push_meaning(written.as_bytes(), &mut meaning);
            prop_assert_eq!(&meaning, text.as_bytes());
        }
    }
}

#[test]
fn halves_of_surrogate_pairs_are_told_apart_and_are_like_no_text() {
    let meant = |text: &[u8]| meaning(text).into_owned();
    assert_ne!(meant(br#""\ud800""#), meant(br#""\ud801""#));
    assert_ne!(meant(br#""\ud800""#), "\u{fffd}".as_bytes());
    assert_eq!(meant(br#""\ud83d\ude00""#), "\u{1f600}".as_bytes());
    assert_eq!(meant(br#""\ud83d\u0041""#)[3..], *b"A");
}
