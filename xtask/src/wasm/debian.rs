//! Debian's `rustc-web`: a recent compiler and the library's sources. Its packages are unpacked
//! into the target folder, not installed, and the library is compiled for wasm32 once.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use super::TARGET;
use crate::steps::{run, target};

/// A compiler that was unpacked here.
pub(crate) struct Debian {
    /// What is `/usr` in the packages.
    usr: PathBuf,
}

impl Debian {
    pub(super) fn get() -> anyhow::Result<Self> {
        let folder = target().join("debian-wasm");
        let debian = Self { usr: folder.join("usr") };
        let done = folder.join("done");
        if !done.exists() {
            if folder.exists() {
                fs::remove_dir_all(&folder)?;
            }
            unpack(&folder)?;
            debian.link()?;
            debian.build_library(&folder.join("library"))?;
            fs::write(done, "")?;
        }
        Ok(debian)
    }

    /// Has cargo compile with it.
    pub(super) fn compile(&self, cargo: &mut Command) {
        cargo.env("RUSTC", self.usr.join("bin/rustc"));
        cargo.env("LD_LIBRARY_PATH", self.usr.join("lib"));
    }

    /// Puts libraries and linker where this compiler looks for them.
    fn link(&self) -> anyhow::Result<()> {
        let lib = self.usr.join("lib");
        for entry in fs::read_dir(lib.join(format!("{}-linux-gnu", std::env::consts::ARCH)))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default();
            if name.to_string_lossy().contains(".so") {
                symlink(&path, lib.join(name))?;
            }
        }
        let host = host()?;
        let tools = Path::new("lib/rustlib").join(host).join("bin");
        fs::create_dir_all(self.usr.join(&tools))?;
        let linker = tools.join("rust-lld");
        symlink(sysroot()?.join(&linker), self.usr.join(&linker))?;
        Ok(())
    }

    fn build_library(&self, folder: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(folder.join("src"))?;
        fs::write(folder.join("src/lib.rs"), "")?;
        fs::write(
            folder.join("Cargo.toml"),
            "[package]\nname = \"seed\"\nedition = \"2024\"\n[workspace]\n",
        )?;
        let mut cargo = Command::new(sysroot()?.join("bin/cargo"));
        cargo.args(["build", "--release", "--target", TARGET]);
        cargo.args(["-Z", "build-std=std,panic_abort,panic_unwind,proc_macro,test"]);
        cargo.current_dir(folder).env("CARGO_TARGET_DIR", folder.join("target"));
        // Building the library is for nightly compilers only, unless this is set.
        cargo.env("RUSTC_BOOTSTRAP", "1").env_remove("RUSTUP_TOOLCHAIN");
        self.compile(&mut cargo);
        run("library for wasm32", &mut cargo)?;
        let lib = self.usr.join("lib/rustlib").join(TARGET).join("lib");
        fs::create_dir_all(&lib)?;
        for entry in fs::read_dir(folder.join("target").join(TARGET).join("release/deps"))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.extension() == Some(OsStr::new("rlib")) && !name.starts_with("libseed-") {
                fs::copy(&path, lib.join(name))?;
            }
        }
        fs::remove_dir_all(folder)?;
        Ok(())
    }
}

/// Downloads the packages and unpacks of them what is needed.
fn unpack(folder: &Path) -> anyhow::Result<()> {
    let library = dependency("libstd-rust-web-dev", "libstd-rust-web-")?;
    let llvm = dependency(&library, "libllvm")?;
    let packages = ["rustc-web", &library, "libstd-rust-web-dev", &llvm, "rust-web-src"];
    let downloads = folder.join("packages");
    fs::create_dir_all(&downloads)?;
    let mut download = Command::new("apt-get");
    download.args(["-q", "download"]).args(packages).current_dir(&downloads);
    run("Debian's packages", &mut download)?;
    for entry in fs::read_dir(&downloads)? {
        let package = entry?.path();
        let name = package.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Of the sources, half a gigabyte, the library is enough.
        let script = if name.starts_with("rust-web-src") {
            "dpkg-deb --fsys-tarfile \"$1\" | tar -x -C \"$2\" --wildcards \
             './usr/src/rustc-*/library' './usr/lib/rustlib/src/*'"
        } else {
            "dpkg -x \"$1\" \"$2\""
        };
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "sh"]).arg(&package).arg(folder);
        run(&format!("unpack {name}"), &mut shell)?;
    }
    fs::remove_dir_all(downloads)?;
    Ok(())
}

/// The package that this one depends on and whose name starts like this.
fn dependency(package: &str, start: &str) -> anyhow::Result<String> {
    let told = output(Command::new("apt-cache").args(["depends", package]))?;
    let depends = told.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    let found = depends.map(str::trim).find(|name| {
        let rest = name.strip_prefix(start);
        rest.is_some_and(|rest| rest.starts_with(|it: char| it.is_ascii_digit()))
    });
    let hint = "`apt-get update` may help";
    found.map(str::to_owned).with_context(|| format!("Debian has no {package}; {hint}"))
}

fn sysroot() -> anyhow::Result<PathBuf> {
    output(Command::new("rustc").args(["--print", "sysroot"])).map(|path| path.trim().into())
}

fn host() -> anyhow::Result<String> {
    let told = output(Command::new("rustc").arg("-vV"))?;
    let host = told.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc names no host")
}

fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    ensure!(output.status.success(), "{command:?} failed");
    Ok(String::from_utf8(output.stdout)?)
}
