//! Who a client is, and what it may do: tokens with roles, and a log of what was done with them.
//!
//! The JobManager knows the SHA-256 of each token and not the token, so that neither its files nor its memory let
//! anybody in. Invariant: no token is in a log, an answer or a metric.

pub mod audit;
mod guard;
mod hosts;
mod jwt;
mod tokens;

pub use guard::{Caller, Denied, Guard};
pub use hosts::{Elsewhere, Hosts};
pub use jwt::Flaw;
pub use tokens::{Role, Tokens, mint};
