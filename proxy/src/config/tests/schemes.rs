//! The rules of the schemes besides proxying.

use super::*;

#[test]
fn all_schemes_are_off_by_default() {
    let config = config(&[BACKEND], &[]).unwrap();
    assert!(config.schemes.assign.is_none() && config.schemes.dns.is_none() && config.schemes.on_scale.is_none());
    let settings = &config.pools[0].settings;
    assert_eq!((settings.mode, settings.scale), (Mode::Proxy, None));
}

#[test]
fn a_public_url_is_given_by_flag_or_in_the_table_of_its_backend() {
    let file = Scratch::new(
        "public",
        "mode = 'redirect'\npublic-url = ['a:80=wss://one.example']\n\
         [[pool]]\nname = 'chat'\nmode = 'proxy'\n\
         [[backend]]\nurl = 'ws://b'\npool = 'chat'\npublic-url = 'wss://two.example/x'\n\
         public-address = ['192.0.2.1', '2001:db8::1']\n\
         [[route]]\npath = '/chat'\npool = 'chat'\n[[route]]\n",
    );
    let config = config(&[("config", file.path()), ("backend", "ws://a")], &[]).unwrap();
    let pool = |name: &str| config.pools.iter().find(|pool| pool.name == name).unwrap();
    let public = |name: &str| pool(name).backends[0].public.clone();
    assert_eq!(public("default").url, "wss://one.example".parse().ok());
    assert_eq!(public("chat").url, "wss://two.example/x".parse().ok());
    assert_eq!(public("chat").addresses.len(), 2);
    assert_eq!([pool("default").settings.mode, pool("chat").settings.mode], [Mode::Redirect, Mode::Proxy]);
}

#[test]
fn clients_can_be_sent_only_to_backends_with_a_public_url() {
    let backends = ("backend", "ws://a,ws://b:81");
    let one = ("public-url", "a:80=ws://one.example");
    let lines = report(config(&[backends, one, ("mode", "redirect")], &[]), None);
    assert_eq!(lines, ["--mode, --public-url: clients cannot be sent to the backend \"b:81\": it has no public-url"]);
    let lines = report(config(&[backends, one, ("assign", "on")], &[]), None);
    assert_eq!(lines, ["--assign, --public-url: clients cannot be sent to the backend \"b:81\": it has no public-url"]);
    let lines = report(config(&[backends, ("public-url", "c:80=ws://c")], &[]), None);
    assert!(lines[0].starts_with("--public-url: there is no --backend \"c:80\""), "{lines:?}");
}

#[test]
fn what_is_wrong_with_the_dns_is_named() {
    let wrong = |flags: &[(&'static str, &str)], mention: &str| {
        let flags: Vec<_> = [BACKEND].iter().chain(flags).copied().collect();
        let lines = report(config(&flags, &[]), None);
        assert!(lines.len() == 1 && lines[0].contains(mention), "{mention}: {lines:?}");
    };
    let listen = ("dns-listen", "127.0.0.1:0");
    wrong(&[("dns-name", "ws.example.com")], "only with dns-listen");
    wrong(&[listen], "no name to answer for");
    wrong(&[listen, ("dns-name", "ws.example.com=chat")], "\"chat\", which is not there");
    wrong(&[listen, ("dns-name", "ws.example.com,WS.example.com.")], "given twice");
    wrong(&[listen, ("dns-name", "a..b")], "is not a name");
    wrong(&[listen, ("dns-name", "ws.example.com"), ("dns-ttl", "500ms")], "from 1s");
    let flags = [BACKEND, listen, ("dns-name", "Ws.Example.com.")];
    let dns = config(&flags, &[]).unwrap().schemes.dns.unwrap();
    assert_eq!(dns.names, [DnsZone { name: "ws.example.com".into(), pool: "default".into() }]);
}

#[test]
fn a_target_makes_a_pool_one_that_is_advised_about() {
    let flags = [BACKEND, ("sessions-per-backend", "500"), ("scale-load", "70"), ("scale-slack", "20")];
    let scale = config(&flags, &[]).unwrap().pools[0].settings.scale.unwrap();
    assert_eq!((scale.sessions_per_backend, scale.load, scale.slack), (Some(500), Some(0.7), 0.2));
    let lines = report(config(&[BACKEND, ("on-scale", "/bin/sh")], &[]), None);
    assert!(lines[0].starts_with("--on-scale: when to run it is not known"), "{lines:?}");
    let lines = report(config(&[flags[0], flags[1], ("on-scale", "/etc/passwd")], &[]), None);
    assert_eq!(lines, ["--on-scale: \"/etc/passwd\" is not a file that may be executed"]);
    let lines = report(config(&[flags[0], ("scale-min", "5"), ("scale-max", "4")], &[]), None);
    assert!(lines[0].contains("at least 5 and at most 4"), "{lines:?}");
}
