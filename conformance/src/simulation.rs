//! Whole sessions of made-up applications over made-up networks, checked against a small model
//! of what the specification lets happen.
//!
//! A [`Scenario`] says who does what when, and what goes wrong; it is made from a seed, or from
//! a fuzzer's bytes. [Running](Scenario::run) it gives a [`History`] of what each application
//! did and was told, and [`check`] says what in it must not have happened. The program
//! `simulate` does this for as many seeds as one has time for.

mod acts;
mod application;
mod choices;
mod generate;
pub(crate) mod history;
mod model;
mod publishing;
mod run;
mod scenario;
mod shrink;
pub(crate) mod tracks;

pub use choices::{Bytes, Choices};
pub use history::{Ask, Entry, History, Object, What};
pub use model::{Broken, check};
pub use run::Outcome;
pub use scenario::{
    Act, AnswerPlan, Burst, BurstEnd, EndPlan, GroupPick, Little, Scenario, Step, TrackPlan,
    Trouble, Wish,
};
