//! Whether the filter's program is there and may be run: better known before the first letter than from it.

use super::wire::Setup;
use rustix::fs::{Access, access};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where the server's environment has no PATH.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The PATH that programs are looked up in, and are given.
pub fn search_path() -> OsString {
    std::env::var_os("PATH").unwrap_or(PATH.into())
}

/// Looks for the program as exec does, with the rights that this process has. `Err` says what is wrong and what to do.
pub fn check(setup: &Setup) -> Result<(), String> {
    let program = setup.command.first().filter(|program| !program.is_empty()).ok_or("no program is named")?;
    let user = setup.user.as_deref().unwrap_or("the server's user");
    if program.contains('/') {
        return runnable(Path::new(program)).map_err(|error| {
            let remedy = match error.kind() {
                io::ErrorKind::NotFound => "name a program that is there, by its whole path",
                _ => {
                    "it must be a file that this user may run (`chmod 755`, and a way to it through every directory), \
                     outside mail_root and state_dir, and on no file system that is mounted noexec"
                }
            };
            format!("{user} cannot run {program}: {error}; {remedy}")
        });
    }
    let path = search_path();
    match std::env::split_paths(&path).any(|directory| runnable(&directory.join(program)).is_ok()) {
        true => Ok(()),
        false => Err(format!(
            "{user} finds no program {program} in PATH ({}); install it, or name it by its whole path",
            path.display()
        )),
    }
}

fn runnable(program: &Path) -> io::Result<()> {
    // The helper works there, and so do its programs.
    let program = PathBuf::from("/").join(program);
    if !fs::metadata(&program)?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    access(&program, Access::EXEC_OK)?;
    // Landlock is not asked by access(2). It gives reading and running together, so what the modes let us read tells.
    match access(&program, Access::READ_OK) {
        Ok(()) => fs::File::open(&program).map(drop),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn checked(program: &str) -> Result<(), String> {
        let command = vec![program.to_owned(), "word".to_owned()];
        check(&Setup { command, user: Some("somebody".into()), trees: Vec::new(), timeout: 1 })
    }

    #[test]
    fn what_exec_would_not_run_is_told_with_a_remedy() {
        let top = tempfile::tempdir().unwrap();
        let path = |name: &str| top.path().join(name).display().to_string();
        for (name, mode) in [("plain", 0o644), ("runs", 0o755), ("unreadable", 0o711)] {
            fs::write(path(name), "#!/bin/sh\n").unwrap();
            fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        for program in ["sh", "/bin/sh", "bin/sh", &path("runs"), &path("unreadable")] {
            assert_eq!(checked(program), Ok(()), "{program}");
        }
        for (program, why, remedy) in [
            (&path("none"), "No such file", "whole path"),
            (&path("plain"), "Permission denied", "chmod 755"),
            (&path(""), "no file", "chmod 755"),
            (&path("plain/x"), "Not a directory", "chmod 755"),
            (&"no-such-program".to_owned(), "in PATH (", "install it"),
            (&String::new(), "no program is named", ""),
        ] {
            let said = checked(program).unwrap_err();
            assert!(said.contains(why) && said.contains(remedy), "{program}: {said}");
        }
    }
}
