//! Stories about one session on a virtual clock: a simulated client, a simulated fleet of backends, and between them
//! the engine, driven as its real driver does. A test's name is the rule that it proves.

mod barriers;
mod bounds;
mod closing;
mod commit;
mod compressed;
mod dedupe;
mod ends;
mod explicit;
mod failover;
mod frames;
mod guarantees;
mod limits;
mod liveness;
mod migration;
mod poison;
mod relay;
mod ruled;
mod walk;
mod world;
