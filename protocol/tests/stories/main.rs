//! Stories about one session on a virtual clock: a simulated client, a simulated fleet of backends, and between them
//! the engine, driven as its real driver does. A test's name is the rule that it proves.

mod barriers;
mod bounds;
mod closing;
mod ends;
mod failover;
mod frames;
mod liveness;
mod relay;
mod walk;
mod world;
