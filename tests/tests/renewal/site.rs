//! A proxy before a backend that the test plays, which is left with Close 1012 to be attached to again.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tideover_tests::{
    Proxy,
    hook::Hook,
    raw::{Connection, Ended, Frame, Head, RawBackend, opcode},
};

pub(super) const SOON: Duration = Duration::from_secs(20);

/// The proxy and its one backend.
pub(super) struct Site {
    pub(super) backend: RawBackend,
    pub(super) proxy: Proxy,
}

/// A backend leg, and the request that it came with.
pub(super) struct Leg {
    pub(super) connection: Connection,
    pub(super) request: Head,
}

impl Site {
    pub(super) async fn start(flags: &[&str]) -> Self {
        let backend = RawBackend::bind().await;
        let proxy = Proxy::before([backend.address()], &[&["--log", "trace"], flags].concat());
        Self { backend, proxy }
    }

    /// One whose sessions ask `hook`, which is told Authorization and X-Tenant.
    pub(super) async fn asking(hook: &Hook, flags: &[&str]) -> Self {
        let url = hook.url();
        let mut all = vec!["--reattach-hook", &url, "--reattach-hook-header", "Authorization,X-Tenant"];
        // The hook is this process, which may be slow where its timeout is not what the test is about.
        if !flags.contains(&"--reattach-hook-timeout") {
            all.extend(["--reattach-hook-timeout", "20s"]);
        }
        all.extend(flags);
        Self::start(&all).await
    }

    pub(super) async fn session(&self, target: &str, headers: &[&str]) -> (Connection, Leg) {
        let client = Connection::client(self.proxy.address(), target, headers);
        tokio::join!(client, self.leg())
    }

    /// The next leg. The proxy's own probes are answered and let go.
    pub(super) async fn leg(&self) -> Leg {
        loop {
            let mut connection = self.backend.connection(SOON).await;
            let request = connection.accept(&[]).await;
            if request.header("Tideover-Session").is_some() {
                return Leg { connection, request };
            }
        }
    }

    /// Ends a leg as a backend does that is restarted, and gives the next one.
    pub(super) async fn restart(&self, leg: Leg) -> Leg {
        self.end(leg).await;
        self.leg().await
    }

    /// Ends a leg as a backend does that is restarted.
    pub(super) async fn end(&self, mut leg: Leg) {
        leg.connection.send(&Frame::close(1012, "restart")).await.expect("sent");
        // The proxy answers the Close and ends the connection.
        tokio::spawn(leg.connection.rest(SOON));
    }

    /// Whether the text is nowhere in the log, at any level.
    #[track_caller]
    pub(super) fn assert_not_logged(&self, secrets: &[&str]) {
        let log = self.proxy.log_text();
        for secret in secrets {
            assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
        }
    }
}

/// The client's session still works on this leg. What an earlier leg did not acknowledge may be read here again.
pub(super) async fn assert_works(client: &mut Connection, leg: &mut Leg) {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let text = format!("message {}", NUMBER.fetch_add(1, Ordering::Relaxed));
    client.send(&Frame::text(&text)).await.expect("sent");
    loop {
        let frame = next(&mut leg.connection).await.expect("a message");
        leg.connection.send(&Frame::text(frame.as_text())).await.expect("sent");
        if frame.as_text() == text {
            break;
        }
    }
    while next(client).await.expect("an answer").as_text() != text {}
}

/// The next frame that is neither a ping nor a pong.
pub(super) async fn next(connection: &mut Connection) -> Result<Frame, Ended> {
    loop {
        let frame = connection.next_answering_pings(SOON).await?;
        if frame.opcode != opcode::PONG {
            return Ok(frame);
        }
    }
}

/// The client is closed with this code.
pub(super) async fn assert_closed(client: &mut Connection, code: u16) {
    let frame = next(client).await.expect("a Close");
    assert_eq!((frame.opcode, &frame.payload[..2]), (opcode::CLOSE, &code.to_be_bytes()[..]), "{frame:?}");
}
