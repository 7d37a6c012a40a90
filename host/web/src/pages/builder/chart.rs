//! How long a builder's newest builds took, and how they ended: one bar for each.

use capstan_store::BuildGlance;

use crate::pages::format;
use crate::pages::glance::{Word, dot_title};

/// Units of one bar with its gap, and of the whole drawing: a few builds do not become a few walls.
const STEP: i64 = 10;
const WIDTH: i64 = STEP * super::CHART as i64;
const HEIGHT: i64 = 80;
/// The lowest bar: also a build that took no time is seen and can be pointed at.
const LOWEST: i64 = 4;

/// A drawing in its own units.
pub(super) struct Chart {
    pub(super) bars: Vec<Bar>,
    pub(super) width: i64,
    pub(super) height: i64,
    /// Where the usual time is, from the top.
    pub(super) usual: Option<i64>,
    /// The time that is as high as the drawing.
    pub(super) longest: String,
}

/// One build.
pub(super) struct Bar {
    pub(super) id: i64,
    pub(super) word: &'static str,
    pub(super) title: String,
    pub(super) x: i64,
    pub(super) y: i64,
    pub(super) height: i64,
}

impl Chart {
    /// `None` for fewer builds than make a picture. `recent` is newest first; the drawing's right is the newest.
    pub(super) fn new(recent: &[BuildGlance], usual: Option<i64>, now: i64) -> Option<Self> {
        if recent.len() < 2 {
            return None;
        }
        let took = |build: &BuildGlance| {
            let end = build.finished.map_or(now, |at| at.0);
            end.saturating_sub(build.started.0).max(0)
        };
        let longest = recent.iter().map(took).max().unwrap_or(0).max(1);
        let scaled = |ms: i64| (ms.saturating_mul(HEIGHT) / longest).clamp(LOWEST, HEIGHT);
        let bar = |(place, build): (i64, &BuildGlance)| Bar {
            id: build.id.0,
            word: build.word(),
            title: format!("{}, took {}", dot_title(build, &now), format::span(took(build))),
            x: WIDTH - place * STEP,
            y: HEIGHT - scaled(took(build)),
            height: scaled(took(build)),
        };
        let shown = recent.iter().take(super::CHART as usize);
        let bars: Vec<Bar> = (1..).zip(shown).map(bar).collect();
        Some(Self {
            width: WIDTH,
            height: HEIGHT,
            usual: usual.filter(|&ms| ms <= longest).map(|ms| HEIGHT - scaled(ms)),
            longest: format::span(longest),
            bars,
        })
    }
}

#[cfg(test)]
mod tests {
    use capstan_model::{BuildId, Timestamp};
    use capstan_store::BuildState;

    use super::*;

    fn build(id: i64, started: i64, finished: Option<i64>) -> BuildGlance {
        BuildGlance {
            id: BuildId(id),
            number: 1,
            state: BuildState::Running,
            outcome: None,
            summary: String::new(),
            started: Timestamp(started),
            finished: finished.map(Timestamp),
        }
    }

    #[test]
    fn the_newest_build_is_on_the_right_and_all_fit() {
        let recent = [
            build(3, 5_000, None),
            build(2, 3_000, Some(3_000)),
            build(1, 0, Some(i64::MAX)),
        ];
        let chart = Chart::new(&recent, Some(2_000), 6_000).unwrap();
        assert_eq!(chart.bars.iter().map(|bar| bar.id).collect::<Vec<_>>(), [3, 2, 1]);
        for bar in &chart.bars {
            assert!(bar.height >= LOWEST && bar.y >= 0 && bar.y + bar.height == HEIGHT);
            assert!((0..=chart.width - STEP).contains(&bar.x));
        }
        assert_eq!(chart.bars[0].x, chart.width - STEP, "the newest is on the right");
        assert!(Chart::new(&recent[..1], None, 0).is_none());
    }
}
