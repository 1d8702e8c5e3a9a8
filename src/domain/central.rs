//! What is agreed on the central database: how pictures get there, and when.

use std::path::PathBuf;

/// How the central enricher comes to the pictures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FrameDelivery {
    /// Not at all.
    None,
    /// By copies in this folder, which is the enricher's, or common storage.
    Shared(PathBuf),
    /// Through a table of the central database, out of which `session-store receive-frames` writes them.
    Table,
}

/// Minutes of the day, by local time, from the first up to the second; over midnight where the second is lower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayWindow {
    /// Its first minute.
    pub from: u16,
    /// The first minute behind it.
    pub to: u16,
}

impl DayWindow {
    /// Reads `01:00-05:00`.
    pub fn read(text: &str) -> Option<Self> {
        let minute = |text: &str| {
            let (hour, minute) = text.trim().split_once(':')?;
            let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
            (hour < 24 && minute < 60).then_some(hour * 60 + minute)
        };
        let (from, to) = text.split_once('-')?;
        let window = Self { from: minute(from)?, to: minute(to)? };
        (window.from != window.to).then_some(window)
    }

    /// Whether `minute` of the day lies in it.
    pub fn holds(self, minute: u16) -> bool {
        if self.from < self.to { (self.from..self.to).contains(&minute) } else { minute >= self.from || minute < self.to }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_may_reach_over_midnight() {
        let night = DayWindow::read("22:30-05:00").expect("a window");
        assert!(night.holds(22 * 60 + 30) && night.holds(0) && !night.holds(5 * 60) && !night.holds(12 * 60));
        for wrong in ["", "1-5", "25:00-05:00", "01:00", "01:00-01:00", "01:60-02:00"] {
            assert_eq!(DayWindow::read(wrong), None, "{wrong}");
        }
    }
}
