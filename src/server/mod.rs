//! The server: listeners with their budgets, and one connection from greeting to close.

pub mod allowed;
mod budget;
mod connection;
pub mod control;
mod doors;
pub mod filter;
mod house;
mod listeners;
mod mx;
mod parcel;
mod recipients;
mod replies;
pub mod serve;
mod shield;
mod submission;
mod trace;
