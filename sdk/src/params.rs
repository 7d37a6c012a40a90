//! Types for parameters that many plugins have: durations, one text or several, patterns, results.

mod patterns;
mod span;
mod texts;
mod verdict;

pub use patterns::Patterns;
pub use span::Span;
pub use texts::Texts;
pub use verdict::Verdict;
