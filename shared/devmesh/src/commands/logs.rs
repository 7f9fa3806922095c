//! `logs`: the logs of all processes, together or one.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::home::Home;
use crate::process::stop::pause;

const FOLLOW_INTERVAL: Duration = Duration::from_millis(200);

/// What to show.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// One process; all when absent.
    pub name: Option<String>,
    /// How many lines of each log's end.
    pub lines: usize,
    /// Whether to go on as lines are written.
    pub follow: bool,
}

/// Writes the ends of the logs, each line after its process's name.
///
/// # Errors
/// When there is no mesh, no such log, or the output is closed.
pub fn logs(path: &Path, options: &LogOptions, mut out: impl Write) -> anyhow::Result<()> {
    let home = Home::open(path)?.context("no mesh here; start one with `make up`")?;
    let mut tails = Vec::new();
    for (name, path) in files(&home, options.name.as_deref())? {
        let mut tail = Tail {
            name,
            reader: BufReader::new(File::open(path)?),
        };
        let mut last: Vec<String> = Vec::new();
        while let Some(line) = tail.next_line()? {
            last.push(line);
            if last.len() > options.lines {
                last.remove(0);
            }
        }
        for line in last {
            writeln!(out, "{:<11} | {line}", tail.name)?;
        }
        tails.push(tail);
    }
    if !options.follow {
        return Ok(());
    }
    loop {
        for tail in &mut tails {
            while let Some(line) = tail.next_line()? {
                writeln!(out, "{:<11} | {line}", tail.name)?;
            }
        }
        out.flush()?;
        pause(FOLLOW_INTERVAL);
    }
}

struct Tail {
    name: String,
    reader: BufReader<File>,
}

impl Tail {
    /// The next whole line; a line still being written is left for later.
    fn next_line(&mut self) -> anyhow::Result<Option<String>> {
        let start = self.reader.stream_position()?;
        let mut bytes = Vec::new();
        self.reader.read_until(b'\n', &mut bytes)?;
        if bytes.pop() != Some(b'\n') {
            self.reader.seek(SeekFrom::Start(start))?;
            return Ok(None);
        }
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }
}

fn files(home: &Home, name: Option<&str>) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let mut files: Vec<(String, PathBuf)> = std::fs::read_dir(home.logs())?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .filter_map(|path| Some((path.file_stem()?.to_str()?.to_owned(), path)))
        .filter(|(stem, _)| name.is_none_or(|name| name == stem))
        .collect();
    files.sort();
    if files.is_empty() {
        bail!(
            "no log of {} in {}",
            name.unwrap_or("any process"),
            home.logs().display()
        );
    }
    Ok(files)
}
