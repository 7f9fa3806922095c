//! Valkey: the event bus. It must not forget and must not evict, so it appends
//! every write to a file and refuses writes when memory is full.

use std::path::Path;
use std::time::Duration;
use std::{fs, io};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::home::{Home, json};
use crate::ports;

const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// The URL clients use.
#[must_use]
pub fn url(port: u16, password: &str) -> String {
    format!("redis://:{password}@{}", ports::loopback(port))
}

/// Writes the configuration and returns it; it holds the password, so it is a
/// private file and not the command line.
///
/// # Errors
/// When the file cannot be written.
pub fn configure(home: &Home, port: u16, password: &str, durable: bool) -> io::Result<String> {
    let directory = home.valkey();
    fs::create_dir_all(&directory)?;
    let configuration = format!(
        "bind 127.0.0.1\n\
         port {port}\n\
         requirepass {password}\n\
         dir \"{}\"\n\
         appendonly {}\n\
         appendfsync everysec\n\
         save \"\"\n\
         maxmemory-policy noeviction\n\
         daemonize no\n",
        directory.display(),
        if durable { "yes" } else { "no" },
    );
    json::replace(&configuration_file(home), configuration.as_bytes())?;
    Ok(configuration)
}

/// The program and arguments that run the server in the foreground.
#[must_use]
pub fn server_command(home: &Home, tools: &Path) -> Vec<String> {
    vec![
        tools.join("valkey-server").display().to_string(),
        configuration_file(home).display().to_string(),
    ]
}

fn configuration_file(home: &Home) -> std::path::PathBuf {
    home.valkey().join("valkey.conf")
}

/// Asks the server whether it answers commands (it does not while it loads).
///
/// # Errors
/// What it answered instead of `PONG`, or why it could not be asked.
pub async fn probe(port: u16, password: &str) -> io::Result<()> {
    timeout(PROBE_TIMEOUT, ping(port, password)).await?
}

async fn ping(port: u16, password: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect(ports::loopback(port)).await?;
    stream
        .write_all(format!("AUTH {password}\r\nPING\r\nQUIT\r\n").as_bytes())
        .await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    if answer.contains("+PONG") {
        Ok(())
    } else {
        Err(io::Error::other(format!(
            "valkey answered {:?}",
            answer.trim()
        )))
    }
}
