//! The server: listeners with their budgets, and one connection from greeting to close.

pub mod allowed;
mod budget;
mod connection;
pub mod control;
mod doors;
mod examine;
pub mod explain;
pub mod filter;
mod hearing;
mod house;
mod inquiry;
mod limits;
mod listeners;
mod mx;
mod parcel;
mod premises;
mod recipients;
mod replies;
pub mod serve;
mod shield;
mod stream;
mod submission;
mod trace;
