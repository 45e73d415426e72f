//! A proxy before a backend that the test plays, which is left with Close 1012 to be attached to again.

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
        let fixed = ["--reattach-hook", &url, "--reattach-hook-header", "Authorization,X-Tenant"];
        Self::start(&[&fixed[..], flags].concat()).await
    }

    pub(super) async fn session(&self, target: &str, headers: &[&str]) -> (Connection, Leg) {
        let client = Connection::client(self.proxy.address(), target, headers);
        tokio::join!(client, self.leg())
    }

    /// The next leg.
    pub(super) async fn leg(&self) -> Leg {
        let mut connection = self.backend.connection(SOON).await;
        let request = connection.accept(&[]).await;
        Leg { connection, request }
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

/// The client's session still works on this leg.
pub(super) async fn assert_works(client: &mut Connection, leg: &mut Leg) {
    client.send(&Frame::text("hello")).await.expect("sent");
    let read = loop {
        let frame = leg.connection.next_answering_pings(SOON).await.expect("a message");
        if frame.opcode == opcode::TEXT {
            break frame;
        }
    };
    assert_eq!(read.as_text(), "hello");
    leg.connection.send(&Frame::text("answer")).await.expect("sent");
    assert_eq!(next(client).await.expect("an answer").as_text(), "answer");
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
