//! nginx with a configuration of the bench's own: as a service behind the edge, and as another edge.

use std::{path::Path, process::Command};

use crate::program::Program;

/// Names another program than the `nginx` on the PATH.
const PROGRAM: &str = "BANYAN_NGINX";

/// Answers everything at once, and writes nothing down.
pub async fn service(folder: &Path, address: &str) -> anyhow::Result<Program> {
    let server = format!(
        "access_log off;
         server {{ listen {address}; location / {{ default_type text/plain; return 200 'answered'; }} }}"
    );
    start(folder, address, &server).await
}

/// Passes everything on to the service, with what an edge tells it; a line for each request goes to a
/// file, as ours does.
pub async fn proxy(folder: &Path, address: &str, service: &str) -> anyhow::Result<Program> {
    let log = folder.join("access.log");
    let server = format!(
        "access_log {};
         upstream service {{ server {service}; keepalive 128; keepalive_requests 100000000; }}
         server {{
             listen {address};
             location / {{
                 proxy_pass http://service;
                 proxy_http_version 1.1;
                 proxy_set_header Connection '';
                 proxy_set_header Host $host;
                 proxy_set_header X-Forwarded-For $remote_addr;
                 proxy_set_header X-Forwarded-Host $host;
                 proxy_set_header X-Forwarded-Proto $scheme;
                 proxy_set_header X-Request-Id $request_id;
             }}
         }}",
        log.display()
    );
    start(folder, address, &server).await
}

async fn start(folder: &Path, address: &str, servers: &str) -> anyhow::Result<Program> {
    std::fs::create_dir_all(folder)?;
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {}/{kind};", folder.display()));
    let file = folder.join("nginx.conf");
    let configuration = format!(
        "daemon off;
         worker_processes auto;
         pid {}/pid;
         events {{ worker_connections 1024; }}
         http {{
             keepalive_requests 100000000;
             {}
             {servers}
         }}",
        folder.display(),
        temporary.concat()
    );
    std::fs::write(&file, configuration)?;
    let program = std::env::var_os(PROGRAM).unwrap_or_else(|| "nginx".into());
    let mut command = Command::new(program);
    // Debian keeps it where only root's PATH leads.
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin"));
    command
        .arg("-p")
        .arg(folder)
        .arg("-c")
        .arg(&file)
        .args(["-e", "stderr"]);
    let mut nginx = Program::start(&mut command, folder.join("log"))?;
    nginx
        .answers(&format!("http://{address}/"), |_| true)
        .await?;
    Ok(nginx)
}
