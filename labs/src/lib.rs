//! The book's labs: each a question, an experiment with real servers and real load, and a shape
//! that must come of it.
//!
//! A lab is one short file in [`labs`]. [`lab`] says what one is made of, [`mod@bench`] what an
//! experiment may use, [`outcome`] how it is judged; [`show`] and [`results`] are for people and
//! for the book, [`cli`] puts all together.

pub mod bench;
pub mod cli;
pub mod lab;
pub mod labs;
pub mod outcome;
pub mod results;
pub mod show;
