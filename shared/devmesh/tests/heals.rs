//! The supervisor's promises, on a private PostgreSQL and Valkey.

use std::process::Command;
use std::time::Duration;

use bursar_devmesh::commands::status::status;
use bursar_devmesh::commands::up::{UpOptions, up};
use bursar_devmesh::intent::Scope;
use bursar_devmesh::mesh::{Mesh, MeshOptions, wait_until_removed};
use bursar_devmesh::process::identity::ProcessId;
use sqlx::{Connection, PgConnection};

const SOON: Duration = Duration::from_secs(30);

async fn servers() -> Mesh {
    Mesh::start(MeshOptions::servers(), |_| {})
        .await
        .expect("the servers start")
}

async fn connect(mesh: &Mesh) -> PgConnection {
    let url = mesh
        .observed()
        .expect("the supervisor reports")
        .superuser_url;
    PgConnection::connect(&url)
        .await
        .expect("PostgreSQL answers")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mesh_leaves_nothing_behind() {
    // Every process is gone when the mesh is dropped, and so is its directory.
    let mesh = servers().await;
    let names = ["postgres", "valkey", "supervisor", "guardian"];
    let processes: Vec<ProcessId> = names
        .iter()
        .map(|name| mesh.process(name).unwrap())
        .collect();
    let home = mesh.home().path().to_owned();
    drop(mesh);
    assert!(processes.iter().all(|process| !process.is_alive()));
    assert!(!home.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_killed_comes_back() {
    // kill -9 of any one process heals; what PostgreSQL had committed is there.
    let mesh = servers().await;
    let mut connection = connect(&mesh).await;
    sqlx::query("CREATE TABLE kept (n int)")
        .execute(&mut connection)
        .await
        .unwrap();
    sqlx::query("INSERT INTO kept VALUES (1)")
        .execute(&mut connection)
        .await
        .unwrap();
    for name in ["postgres", "valkey", "supervisor", "guardian", "postgres"] {
        let killed = mesh.kill(name).unwrap();
        mesh.wait_replaced(name, &killed, SOON).await.unwrap();
        mesh.wait_healthy(SOON).await.unwrap();
    }
    let mut connection = connect(&mesh).await;
    let (rows,): (i64,) = sqlx::query_as("SELECT count(*) FROM kept")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(rows, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_supervisor_adopts_what_runs() {
    // The children of a killed supervisor go on under the next one.
    let mesh = servers().await;
    let before = mesh.process("postgres").unwrap();
    for name in ["supervisor", "guardian", "supervisor"] {
        let killed = mesh.kill(name).unwrap();
        mesh.wait_replaced(name, &killed, SOON).await.unwrap();
        mesh.wait_healthy(SOON).await.unwrap();
    }
    assert_eq!(mesh.process("postgres").unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_up_changes_nothing() {
    // The same settings leave every process as it is.
    let mesh = servers().await;
    let before = mesh.process("postgres").unwrap();
    let options = UpOptions {
        home: mesh.home().path().to_owned(),
        scope: Scope::Servers,
        gateway_port: None,
        rate_limits: None,
        durable: true,
        postgres: Vec::new(),
        owner: Some(ProcessId::own().unwrap()),
    };
    up(&options, |_| {}).await.unwrap();
    assert_eq!(mesh.process("postgres").unwrap(), before);
    let shown = status(mesh.home().path()).unwrap();
    assert!(
        shown
            .processes
            .iter()
            .all(|process| process.state == "healthy")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throwaway_mesh_ends_with_its_owner() {
    // When the process that owns it is killed, the mesh takes itself away.
    let mut owner = Command::new("sleep").arg("600").spawn().unwrap();
    let home = std::env::temp_dir().join(format!("bursar-mesh-owned-{}", owner.id()));
    let options = UpOptions {
        home: home.clone(),
        scope: Scope::Servers,
        gateway_port: None,
        rate_limits: None,
        durable: true,
        postgres: Vec::new(),
        owner: ProcessId::of(i32::try_from(owner.id()).unwrap()),
    };
    let (_, observed) = up(&options, |_| {}).await.unwrap();
    owner.kill().unwrap();
    owner.wait().unwrap();
    assert!(wait_until_removed(&home, SOON));
    let processes = observed
        .processes
        .iter()
        .filter_map(|process| process.process.as_ref());
    assert!(processes.into_iter().all(|process| !process.is_alive()));
}

#[test]
fn a_guest_gets_its_servers_and_its_exit_code_is_kept() {
    // `test-servers` runs the command with both URLs and ends as it does.
    let script =
        r#"[ -n "$BURSAR_TEST_POSTGRES_URL" ] && [ -n "$BURSAR_TEST_REDIS_URL" ] && exit 7"#;
    let status = Command::new(env!("CARGO_BIN_EXE_bursar-devmesh"))
        .args(["test-servers", "--", "sh", "-c", script])
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(7));
}
