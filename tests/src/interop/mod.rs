//! Software that none of us wrote, server and client, with the proxy between them and the server killed.

pub mod journal;
