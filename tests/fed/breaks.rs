//! Breaks a landing off at one of the points that it reaches, as a kill would. Knows no feed.

use medallion_runtime::capture::{self, Point};
use medallion_runtime::descriptor::Name;
use medallion_runtime::error::{Error, Result};

/// Breaks off after some points; never without.
#[derive(Default)]
pub struct Breaks {
    after: Option<usize>,
    /// What was noted on the way.
    #[allow(dead_code, reason = "not every test looks at it")]
    pub notes: Vec<String>,
}

impl Breaks {
    pub fn after(after: Option<usize>) -> Self {
        Self { after, notes: Vec::new() }
    }
}

impl capture::Progress for Breaks {
    fn landed(&mut self, _: &Name, _: u64) {}

    fn note(&mut self, text: &str) {
        self.notes.push(text.to_owned());
    }

    fn reached(&mut self, _: Point) -> Result<()> {
        match &mut self.after {
            Some(0) => Err(Error::new("broken off")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}
