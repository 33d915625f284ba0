//! Trees of relays between made-up publishers and subscribers, checked against a small model of
//! what must arrive.
//!
//! A [`Scenario`] says which relays there are, who publishes and subscribes what when, and what
//! goes wrong; it is made from a seed. [Running](Scenario::run) it gives a [`Record`] of what was
//! published and of what each request came to, and [`check`] says what in it must not have
//! happened, or should have. The program `simulate-relays` does this for as many seeds as one has
//! time for.

mod acts;
mod client;
mod courses;
mod generate;
mod model;
mod publishing;
mod reading;
mod record;
mod run;
mod scenario;
mod shrink;

pub use model::check;
pub use record::Record;
pub use run::Outcome;
pub use scenario::{Act, ClientPlan, How, Level, RelayPlan, Scenario, Step, TrackContent};
