//! Orders about backends.

use tideover_tests::lock::machine_shared;

use super::*;

fn configuration(backends: &[Backend], more: &str) -> String {
    let tables = ["a", "b"].iter().zip(backends);
    let tables: String = tables.map(|(id, one)| format!("[[backend]]\nid = '{id}'\nurl = '{}'\n", url(one))).collect();
    format!("{more}\n{tables}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_added_backend_gets_sessions_and_outlives_a_reload_until_it_is_removed() {
    let _machine = machine_shared();
    let all = backends::<2>();
    let stage = Stage::new(&configuration(&all[..1], ""));
    assert_eq!(stage.places(&all, "before", 3).await, [0, 0, 0]);

    let added = stage.operator.json(&["add", &url(&all[1]), "--name", "extra", "--weight", "256"]);
    assert_eq!((&added["name"], &added["pool"], &added["added"]), (&"extra".into(), &"default".into(), &true.into()));
    let mut session = stage.client("/echo?on=extra").await;
    assert!(opened(&all[1], "/echo?on=extra"), "the one with more weight goes first");

    stage.write(&configuration(&all[..1], "connect-timeout = '3s'"));
    stage.operator.order(&["reload"]);
    assert!(stage.places(&all, "reloaded", 3).await.contains(&1), "it belongs to the operator, not to the file");

    let removed = stage.operator.json(&["remove", "default/extra"]);
    assert_eq!((&removed["state"], &removed["removed"]), (&"draining".into(), &true.into()));
    assert_eq!(stage.places(&all, "removed", 4).await, [0, 0, 0, 0]);
    chat(&mut session).await;
    session.close(1000, "", SOON).await;
    let forgotten = || stage.operator.tell(&["backend", "extra"]).code == Some(1);
    eventually(SOON, "it is forgotten with its last session", forgotten).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_of_the_file_that_is_removed_stays_removed_when_the_file_is_read_again() {
    let _machine = machine_shared();
    let all = backends::<2>();
    let stage = Stage::new(&configuration(&all, ""));
    stage.operator.order(&["remove", "b", "--wait", "10s"]);
    stage.operator.order(&["reload"]);
    assert_eq!(stage.places(&all, "removed", 3).await, [0, 0, 0]);
    stage.operator.order(&["add", &url(&all[1]), "--name", "b"]);
    assert!(stage.places(&all, "added", 4).await.contains(&1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disabled_backend_keeps_its_sessions_and_gets_none_until_it_is_enabled() {
    let _machine = machine_shared();
    let all = backends::<2>();
    let stage = Stage::new(&configuration(&all, ""));
    let mut session = stage.client("/echo?old").await;
    let (on, name) = if opened(&all[0], "/echo?old") { (0, "a") } else { (1, "b") };
    let told = stage.operator.json(&["disable", name]);
    assert_eq!(told["state"], "disabled");

    stage.write(&configuration(&all, "connect-timeout = '3s'"));
    stage.operator.order(&["reload"]);
    assert_eq!(stage.operator.backend(name)["state"], "disabled", "a reload does not undo an order");
    assert_eq!(stage.places(&all, "disabled", 4).await, [1 - on; 4]);
    chat(&mut session).await;
    assert!(!opened(&all[1 - on], "/echo?old"), "the old session is where it was");

    // With it, the enabled backend would have more than the other, whose sessions are gone by now.
    session.close(1000, "", SOON).await;
    assert_eq!(stage.operator.json(&["enable", name])["state"], "ready");
    assert!(stage.places(&all, "enabled", 4).await.contains(&on));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_backend_gets_no_session_and_says_that_it_is_draining() {
    let _machine = machine_shared();
    let all = backends::<2>();
    let stage = Stage::new(&configuration(&all, ""));
    let mut session = stage.client("/echo?old").await;
    let (on, name) = if opened(&all[0], "/echo?old") { (0, "a") } else { (1, "b") };
    assert_eq!(stage.operator.json(&["drain", name])["state"], "draining");
    assert!(
        stage
            .operator
            .order(&["backends"])
            .lines()
            .any(|line| line.contains(&url(&all[on])) && line.contains("draining"))
    );
    assert_eq!(stage.places(&all, "draining", 4).await, [1 - on; 4]);
    chat(&mut session).await;
    session.close(1000, "", SOON).await;
    stage.operator.order(&["drain", name, "--wait", "10s"]);
    assert_eq!(stage.operator.backend(name)["legs"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_are_changed_steer_the_sessions_to_come() {
    let _machine = machine_shared();
    let all = backends::<2>();
    let stage = Stage::new(&configuration(&all, ""));
    assert_eq!(stage.operator.json(&["set", "a", "--weight", "0"])["weight"], 0);
    assert_eq!(stage.places(&all, "weightless", 3).await, [1, 1, 1]);
    let changed = stage.operator.json(&["set", "a", "--weight", "100", "--max-sessions", "1", "--priority", "0"]);
    assert_eq!((&changed["weight"], &changed["max_sessions"]), (&100.into(), &1.into()));
    stage.operator.order(&["set", "b", "--priority", "1"]);
    let _one = stage.client("/echo?one").await;
    assert!(opened(&all[0], "/echo?one"), "the lower number goes first");
    assert_eq!(stage.place(&all, "/echo?two").await, 1, "it is full");
    assert_eq!(stage.operator.json(&["set", "a", "--max-sessions", "any"])["max_sessions"], serde_json::Value::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_health_of_a_backend_is_forgotten_by_a_reset() {
    let _machine = machine_shared();
    let mut all = backends::<2>();
    // Once out, a backend would stay out for longer than the test takes.
    let stage = Stage::new(&configuration(&all, "ejection-time = '10m'\nejection-max = '1h'\nslow-start = '0s'"));
    all[0].kill();
    let target = |n: usize| format!("/echo?killed={n}");
    let mut n = 0;
    let out = || stage.operator.backend("a")["health"] != "up";
    while !out() {
        assert_eq!(stage.place(&all, &target(n)).await, 1);
        n += 1;
        assert!(n < 100, "{}", stage.proxy.log_text());
    }
    all[0].restart();
    let told = stage.operator.json(&["reset", "a"]);
    assert_eq!(
        (&told["health"], &told["failing"], &told["out_for_ms"]),
        (&"up".into(), &false.into(), &serde_json::Value::Null)
    );
    assert!(stage.places(&all, "reset", 4).await.contains(&0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_sessions_of_a_backend_fail_over_at_an_order_and_no_others() {
    let _machine = machine_shared();
    let all = backends::<2>();
    let stage = Stage::new(&configuration(&all, ""));
    let mut clients = Vec::new();
    for n in 0..8 {
        clients.push(stage.client(&format!("/echo?client={n}")).await);
    }
    let targets = |backend: &Backend| (0..8).filter(|n| opened(backend, &format!("/echo?client={n}"))).count();
    assert_eq!((targets(&all[0]), targets(&all[1])), (4, 4));
    stage.operator.order(&["disable", "a"]);
    let told = stage.operator.json(&["failover", "--backend", "a"]);
    assert_eq!(told["sessions"], 4);
    eventually(SOON, "all are on the other one", || targets(&all[1]) == 8).await;
    for client in &mut clients {
        chat(client).await;
    }
    assert_eq!(targets(&all[0]), 4, "nobody came back");
    assert_eq!(stage.operator.json(&["sessions", "--backend", "b"])["sessions"].as_array().map(Vec::len), Some(8));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_has_its_exit_code_and_changes_nothing() {
    let _machine = machine_shared();
    let all = backends::<1>();
    let stage = Stage::new(&configuration(&all, ""));
    let before = stage.operator.order(&["backends"]);
    let own = url(&all[0]);
    let cases: [(i32, &[&str], &str); 9] = [
        (1, &["add", &own], "409"),
        (1, &["add", "ws://127.0.0.1:1", "--name", "a"], "409"),
        (1, &["add", "http://127.0.0.1:1"], "url: \"http://127.0.0.1:1\" begins with neither"),
        (1, &["add", "ws://127.0.0.1:1", "--pool", "nowhere"], "there is no pool \"nowhere\", only default"),
        (1, &["set", "a", "--weight", "257"], "weight: 257 is more than 256"),
        (1, &["drain", "nobody"], "no backend \"nobody\""),
        (1, &["failover", "--backend", "7"], "no backend \"7\""),
        (2, &["set", "a"], "nothing to set"),
        (2, &["set", "a", "--weight", "much"], "--weight"),
    ];
    for (code, arguments, complaint) in cases {
        let told = stage.operator.tell(arguments);
        assert_eq!((told.code, told.text.as_str()), (Some(code), ""), "{arguments:?}: {told:?}");
        assert!(told.complaint.contains(complaint), "{complaint} is not in {told:?}");
    }
    assert_eq!(stage.operator.order(&["backends"]), before);
    let mut session = stage.client("/echo").await;
    stage.operator.order(&["drain", "a"]);
    let told = stage.operator.tell(&["drain", "a", "--wait", "0s"]);
    // Its only session has nowhere to go.
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(told.complaint.contains("still has 1 sessions"), "{told:?}");
    chat(&mut session).await;
}
