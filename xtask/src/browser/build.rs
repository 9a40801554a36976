use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use wasm_bindgen_cli_support::Bindgen;

use crate::processes::{Server, Stopped};
use crate::steps::{cargo, root, run, target, tests};
use crate::wasm::Compiler;

const PAGE: &str = "build -p deltawire-browser-demo --lib --profile wasm";

const SERVERS: &str = "build --release -p deltawire-browser-demo --bins";

/// The yardstick's server with its stacks for links of other kinds, which nobody else has to build.
const YARDSTICK: &str = "--features deltawire-browser-demo/yardstick-links";

/// What the page's wasm may take compressed with gzip, bytes: Deltawire with documents, both of the demo's pages, and std.
/// Without rooms it was 333 KB, without WebTransport 322, and without documents and the board 240.
const BUDGET: usize = 360_000;

/// The page, and the servers that it talks to.
pub(super) struct Site {
    folder: PathBuf,
    /// Where the servers lie.
    programs: PathBuf,
}

impl Site {
    /// Builds everything, as fast as it gets.
    pub(super) fn build(compiler: &Compiler) -> anyhow::Result<Self> {
        Self::built(compiler, SERVERS)
    }

    /// The same, and the yardstick over every kind of link.
    pub(super) fn build_for_yardstick(compiler: &Compiler) -> anyhow::Result<Self> {
        Self::built(compiler, &format!("{SERVERS} {YARDSTICK}"))
    }

    fn built(compiler: &Compiler, servers: &str) -> anyhow::Result<Self> {
        let folder = build_page(compiler)?;
        run("servers", &mut cargo(servers))?;
        Ok(Self { folder, programs: target().join("release") })
    }

    /// Builds everything for tests, which don't mind slower servers.
    pub(super) fn build_for_tests(compiler: &Compiler) -> anyhow::Result<Self> {
        let folder = build_page(compiler)?;
        // After the tests there is nothing to build.
        run("servers", tests().arg("--no-run"))?;
        Ok(Self { folder, programs: target().join("debug") })
    }

    /// What was built, in these folders.
    pub(super) fn of(folder: &Path, programs: &Path) -> Self {
        Self { folder: folder.to_owned(), programs: programs.to_owned() }
    }

    /// Where the page lies, and its servers.
    pub(super) fn folders(&self) -> [&Path; 2] {
        [&self.folder, &self.programs]
    }

    /// The command that starts the page's server.
    pub(super) fn server(&self) -> Command {
        let mut command = Command::new(self.programs.join("browser_demo_server"));
        command.arg("--site").arg(&self.folder);
        command
    }

    /// Starts the page's server at this port, or at any that is free if it is 0.
    pub(super) fn start(&self, port: u16) -> anyhow::Result<Server> {
        Server::start(self.server().args(["--port", &port.to_string()]))
    }

    /// Starts the page's server with links over WebRTC on str0m's engine.
    pub(super) fn start_on_str0m(&self) -> anyhow::Result<Server> {
        Server::start(self.server().args(["--port", "0", "--str0m"]))
    }

    /// The command that starts the page's server with a board that outlives it.
    pub(super) fn keeping_server(&self, board: &Path) -> Command {
        let mut command = self.server();
        command.arg("--board").arg(board);
        command
    }

    /// Starts a native peer on the board of the page at this address. It draws once.
    pub(super) fn start_peer(&self, address: &str) -> anyhow::Result<Stopped> {
        let mut command = self.peer(address);
        command.args(["--every", "3600"]);
        Ok(Stopped(command.spawn().context("the native peer does not start")?))
    }

    /// The command that starts a native peer on the board of the page at this address.
    pub(super) fn peer(&self, address: &str) -> Command {
        let mut command = Command::new(self.programs.join("board_peer"));
        command.args(["--url", &format!("{}/board/webrtc", address.trim_end_matches('/'))]);
        command
    }

    /// Starts a native process that accepts in a room.
    pub(super) fn start_acceptor(&self, room: &str) -> anyhow::Result<Server> {
        let acceptor = Server::start(self.server().args(["--accept", room]))?;
        acceptor.address()?;
        Ok(acceptor)
    }

    /// Starts one that listens there, and has an address at a TURN server.
    pub(super) fn start_acceptor_at(
        &self,
        room: &str,
        listen: &str,
        turn: &str,
        user: &str,
    ) -> anyhow::Result<Server> {
        let arguments = ["--accept", room, "--listen", listen, "--turn", turn, "--turn-user", user];
        let acceptor = Server::start(self.server().args(arguments))?;
        acceptor.address()?;
        Ok(acceptor)
    }

    /// Has a native process connect to who accepts in a room, and gives what it says.
    pub(super) fn meet(&self, room: &str) -> anyhow::Result<String> {
        let output = self.server().args(["--meet", room]).output()?;
        let said = String::from_utf8_lossy(&output.stdout).lines().collect::<Vec<_>>().join(", ");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "the native process failed: {said} {error}");
        Ok(said)
    }

    /// Starts the yardstick's server.
    pub(super) fn start_yardstick(&self) -> anyhow::Result<Server> {
        Server::start(&mut Command::new(self.programs.join("yardstick_server")))
    }
}

/// Gives the page's folder.
fn build_page(compiler: &Compiler) -> anyhow::Result<PathBuf> {
    run("page", &mut compiler.cargo(PAGE))?;
    let site = target().join("site");
    let module = target().join("wasm32-unknown-unknown/wasm/deltawire_browser_demo.wasm");
    let mut bindgen = Bindgen::new();
    bindgen
        .input_path(module)
        .web(true)?
        // Without it the module does not know where its own wasm lies.
        .omit_default_module_path(false)
        .typescript(false)
        .remove_name_section(true)
        .remove_producers_section(true)
        .generate(&site)?;
    for file in fs::read_dir(root().join("examples/browser/page"))? {
        let file = file?;
        fs::copy(file.path(), site.join(file.file_name()))?;
    }
    let wasm = fs::read(site.join("deltawire_browser_demo_bg.wasm"))?;
    let (plain, compressed) = (wasm.len() / 1_000, compressed_len(&wasm)?);
    println!("the page's wasm: {plain} KB, {} KB with gzip -9", compressed / 1_000);
    ensure!(compressed <= BUDGET, "that is more than the budget of {} KB", BUDGET / 1_000);
    Ok(site)
}

fn compressed_len(bytes: &[u8]) -> anyhow::Result<usize> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?.len())
}
