//! Types for parameters that many plugins have: durations, one text or several, patterns.

mod patterns;
mod span;
mod texts;

pub use patterns::Patterns;
pub use span::Span;
pub use texts::Texts;
