//! The host of the central enricher, which shares no storage with the gateways: its folder, and `receive-frames` beside it.

use std::path::PathBuf;
use std::process::{Child, Stdio};

use crate::postgres::{Db, enrich_after};
use crate::support::agent::jpeg;
use crate::support::daemon::{Home, Ran, binary};

pub struct Centre {
    home: Home,
    running: Option<Child>,
}

impl Centre {
    /// With a configuration of its own.
    pub fn of(url: &str) -> Self {
        let home = Home::new(&format!("[sync]\nurl = {}\n", serde_json::to_string(url).expect("text")));
        std::fs::create_dir(home.dir().join("seen")).expect("made");
        Self { home, running: None }
    }

    /// Where the enricher looks.
    pub fn folder(&self) -> PathBuf {
        self.home.dir().join("seen")
    }

    /// The picture that `url` names.
    pub fn file(&self, url: &str) -> PathBuf {
        self.folder().join(url.strip_prefix("/frames/").expect("a frame's URL"))
    }

    /// `receive-frames --once`.
    pub fn receive(&self) -> Ran {
        self.receive_into(&self.folder().display().to_string())
    }

    /// `receive-frames --once` into any folder.
    pub fn receive_into(&self, folder: &str) -> Ran {
        self.home.run(&["receive-frames", "--once", folder], b"")
    }

    /// What the enricher does: opens the picture of what is not enriched, draws into it, and writes what it saw. One that it
    /// cannot open would be marked as failed for good.
    #[track_caller]
    pub fn enrich(&self, db: &Db, colour: &str) -> Vec<String> {
        enrich_after(db, 1000, colour, |url| {
            let file = self.file(url);
            let is_whole = |bytes: Vec<u8>| bytes.starts_with(&[0xff, 0xd8]) && bytes.ends_with(&[0xff, 0xd9]);
            assert!(std::fs::read(&file).is_ok_and(is_whole), "the enricher cannot open {}", file.display());
            std::fs::write(&file, jpeg(3)).expect("it draws its box");
        })
    }

    /// `receive-frames`, until it is killed.
    pub fn start(&mut self) {
        let mut command = std::process::Command::new(binary());
        command.arg("--config").arg(self.home.config()).arg("receive-frames").arg(self.folder());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.running = Some(command.spawn().expect("starts"));
    }

    pub fn kill9(&mut self) {
        if let Some(mut running) = self.running.take() {
            drop(running.kill());
            drop(running.wait());
        }
    }
}

impl Drop for Centre {
    fn drop(&mut self) {
        self.kill9();
    }
}
