//! Orders about the proxy as a whole.

use tideover_tests::lock::machine_shared;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_proxy_takes_no_session_and_those_that_it_has_go_on() {
    let _machine = machine_shared();
    let mut all = backends::<2>();
    let stage = Stage::new(&format!("backend = ['{}', '{}']\n", url(&all[0]), url(&all[1])));
    let mut session = stage.client("/echo?old").await;
    let on = usize::from(opened(&all[1], "/echo?old"));
    assert_eq!(stage.operator.tell(&["health"]).code, Some(0));

    assert_eq!(stage.operator.json(&["pause"])["state"], "paused");
    let (status, head) = stage.handshake("/echo?paused").await;
    assert_eq!(status, 503);
    assert!(head.to_lowercase().contains("retry-after"), "{head}");
    let told = stage.operator.tell(&["health"]);
    assert_eq!((told.code, told.complaint.contains("503: paused")), (Some(1), true), "{told:?}");
    chat(&mut session).await;
    // Attaching again is nothing new.
    all[on].kill();
    chat(&mut session).await;
    assert!(opened(&all[1 - on], "/echo?old"));

    assert_eq!(stage.operator.json(&["resume"])["state"], "serving");
    assert_eq!(stage.operator.tell(&["health"]).code, Some(0));
    assert_eq!(stage.place(&all, "/echo?resumed").await, 1 - on);
    assert!(!opened(&all[0], "/echo?paused") && !opened(&all[1], "/echo?paused"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_says_what_changed_or_all_that_is_wrong() {
    let _machine = machine_shared();
    let all = backends::<2>();
    let [first, second] = all.each_ref().map(url);
    let stage = Stage::new(&format!("backend = '{first}'\n"));
    let mut session = stage.client("/echo?old").await;
    let nothing = stage.operator.json(&["reload"]);
    assert_eq!(nothing.to_string(), r#"{"added":[],"changed":[],"removed":[],"restart":[]}"#);

    stage.write(&format!("backend = '{second}'\nweight = 1\nack-interval = 'soon'\n"));
    let told = stage.operator.tell(&["reload"]);
    assert_eq!((told.code, told.text.as_str()), (Some(1), ""), "{told:?}");
    for part in ["the configuration has 2 problems: nothing was changed", ":2: weight: ", ":3: ack-interval: "] {
        assert!(told.complaint.contains(part), "{part} is not in {told:?}");
    }
    assert_eq!(stage.place(&all, "/echo?bad").await, 0);

    stage.write(&format!("backend = '{second}'\nmax-sessions = 7\n"));
    let changes = stage.operator.json(&["reload"]);
    let title = |url: &str| url.replace("ws://", "default/");
    assert_eq!(changes["added"], serde_json::json!([title(&second)]));
    assert_eq!(changes["removed"], serde_json::json!([title(&first)]));
    assert_eq!(changes["restart"], serde_json::json!(["max-sessions"]));
    assert_eq!(stage.place(&all, "/echo?good").await, 1);
    chat(&mut session).await;
    assert_eq!(stage.operator.backend(&second)["removed"], false);
}
