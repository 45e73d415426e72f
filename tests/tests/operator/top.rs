//! The live view.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::Stdio;

use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tideover_tests::lock::machine_shared;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn top_is_printed_once_where_there_is_no_terminal() {
    let _machine = machine_shared();
    let all = backends::<1>();
    let stage = Stage::new(&format!("[[backend]]\nurl = '{}'\nid = 'only'\n", url(&all[0])));
    let _session = stage.client("/echo").await;
    for arguments in [&["top", "--interval", "100ms"][..], &["top", "--once"]] {
        let text = stage.operator.order(arguments);
        let mut lines = text.lines();
        assert!(
            lines.next().is_some_and(|head| head.contains("serving") && head.contains(": 1 sessions of ")),
            "{text}"
        );
        assert!(text.contains("messages up") && !text.contains('\x1b'), "{text}");
        let row = text.lines().find(|line| line.contains("only")).expect("its backend");
        let cells: Vec<_> = row.split_whitespace().collect();
        assert_eq!(cells[..6], ["default", "only", "up", "1", "+0", "100.0%"], "{text}");
    }
    assert_eq!(stage.operator.json(&["top"])["proxy"]["sessions"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn top_gives_the_terminal_back_as_it_was() {
    let _machine = machine_shared();
    let all = backends::<1>();
    let stage = Stage::new(&format!("backend = '{}'\n", url(&all[0])));
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&terminal).expect("granted");
    unlockpt(&terminal).expect("unlocked");
    let name = ptsname(&terminal, Vec::new()).expect("its name");
    let other: OwnedFd = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("its other side");
    let mut command = stage.operator.command(&["top", "--interval", "100ms"]);
    let mut top = command.stdin(Stdio::null()).stdout(Stdio::from(other)).spawn().expect("tideover starts");
    // It has the only descriptor of the other side left once the command is gone: the end of it is the terminal's.
    drop(command);
    let shown = tokio::task::spawn_blocking({
        let id = Pid::from_child(&top);
        move || watch(terminal.into(), id)
    });
    let shown = tideover_tests::deadline::within(SOON, "the view ends", shown).await.expect("it was read");
    assert_eq!(top.wait().expect("it ends").code(), Some(0));
    assert!(shown.starts_with("\x1b[?1049h\x1b[?25l"), "{shown:?}");
    assert!(shown.ends_with("\x1b[?25h\x1b[?1049l"), "{shown:?}");
    assert!(shown.matches("tideover 0.").count() >= 3, "{shown:?}");
}

/// Reads the terminal to its end, and interrupts the process as Ctrl-C does when it has drawn three times.
fn watch(mut terminal: std::fs::File, process: Pid) -> String {
    let (mut shown, mut interrupted, mut buffer) = (String::new(), false, [0; 4096]);
    // The end of a terminal is an error (EIO).
    while let Ok(length @ 1..) = terminal.read(&mut buffer) {
        shown += &String::from_utf8_lossy(&buffer[..length]);
        if !interrupted && shown.matches("tideover 0.").count() >= 3 {
            kill_process(process, Signal::INT).expect("it runs");
            interrupted = true;
        }
    }
    shown
}
