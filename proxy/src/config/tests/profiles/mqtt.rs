//! `mqtt`: that the profile is the code whose own tests are beside it.

use super::{Profile, route};

#[test]
fn it_cuts_messages_anew_and_takes_no_compression() {
    let rules = Profile::new("mqtt").0;
    let packets = rules.packets().expect("it cuts");
    assert_eq!(packets.len(b"\xc0\x00\xc0\x00"), Ok(Some(2)));
    assert!(rules.looks_at(true) && rules.looks_at(false) && !rules.closes_opaque(true));
    assert!(route("mqtt").rules.look.changes_messages());
}
