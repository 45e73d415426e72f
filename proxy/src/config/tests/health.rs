//! The settings of the backends' health.

use super::*;

#[test]
fn health_is_off_by_default_and_its_settings_are_judged() {
    let health = config(&[BACKEND], &[]).unwrap().pools[0].settings.health.clone();
    assert_eq!(health, HealthConfig::default());
    let flags =
        [("health-check", "http:/up?x=1"), ("health-status", "204, 300-399"), ("health-host", "Chat.example:81")];
    let more = [("ejection-time", "off"), ("slow-start", "30s"), ("health-panic", "0"), ("health-rise", "1")];
    let health = config(&[&[BACKEND][..], &flags, &more].concat(), &[]).unwrap().pools[0].settings.health.clone();
    assert_eq!(health.check.probe, Some(CheckProbe::Http("/up?x=1".into())));
    let statuses = [200, 204, 299, 300, 399, 400].map(|code| health.check.statuses.contains(code.try_into().unwrap()));
    assert_eq!(statuses, [false, true, false, true, true, false]);
    assert_eq!(health.check.host.unwrap(), "Chat.example:81");
    assert_eq!((health.ejection.time, health.slow_start), (None, Some(Duration::from_secs(30))));
    assert_eq!((health.panic, health.check.rise), (0, 1));
    for (flag, bad) in [
        ("health-check", "http:up"),
        ("health-status", ""),
        ("health-status", "101"),
        ("health-host", "a/b"),
        ("health-host", "a/"),
        ("health-host", "me@a"),
        ("health-panic", "101"),
        ("health-rise", "0"),
        ("ejection-time", "31s"),
    ] {
        let lines = report(config(&[BACKEND, (flag, bad)], &[]), None);
        assert!(lines.len() == 1 && lines[0].starts_with(&format!("--{flag}")), "{bad:?}: {lines:?}");
    }
}
