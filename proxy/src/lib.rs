//! Tideover: a WebSocket reverse proxy that keeps the client's connection open while backends come and go.

pub mod accept;
pub mod admin;
pub mod check;
pub mod config;
pub mod ctl;
pub mod deflate;
pub mod demo;
pub mod doctor;
pub mod edge;
mod fields;
mod line;
pub mod logging;
pub mod mover;
pub mod net;
pub mod pool;
pub mod profiles;
pub mod reload;
pub mod renewal;
pub mod schemes;
pub mod serve;
pub mod session;
pub mod tls;
