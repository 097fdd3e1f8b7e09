//! A process without a way to certain directories, for good, and for all that it starts.

mod beside;
mod mounts;
pub mod numbers;

use super::user;
use beside::Place;
use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetStatus, Scope,
};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{User, getgid, getuid};
use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// What Landlock can do for whoever has a user of his own: the file modes do the rest.
const WITH_USER: ABI = ABI::V1;
/// Under the server's own user it must also keep signals within (Linux 6.12).
const WITHOUT_USER: ABI = ABI::V6;
/// The newest that is asked for; what the kernel does not know of it is left out.
const NEWEST: ABI = ABI::V10;

const ROOT_REMEDY: &str = "start the server as root, with `user` set in server.toml and without `User=` in the unit: \
                           the filter then runs as `inbound.filter_user`";

/// Takes the calling process, which has one thread and runs nothing else, away from `trees`: neither it nor what it
/// starts can open, make, change or name anything in them, by whatever path, nor trace or signal a process outside.
///
/// With `other` it becomes that user, and the files' modes keep it from the rest: from connecting to a socket in a tree,
/// from changing modes, which Landlock does not govern. Without, the trees are covered by empty directories in a mount
/// namespace of its own, and what it starts has numbers of its own: processes outside have none for it, and so cannot be
/// made slower or given limits. The first that it starts lives as long as all others. `Err` says what is missing and what to
/// do.
pub fn keep_out_of(trees: &[PathBuf], other: Option<&User>) -> Result<(), String> {
    let closed = mounts::everywhere(trees).map_err(|error| format!("looking for {trees:?}: {error}"))?;
    let given = beside::beside(&closed).map_err(|error| format!("looking beside {closed:?}: {error}"))?;
    match other {
        Some(other) => user::change_apart_to(other).map_err(|failure| failure.to_string())?,
        None => cover(&closed)?,
    }
    restrict(given, if other.is_some() { WITH_USER } else { WITHOUT_USER })
}

/// Hides directories from this process. Whoever is not root may do so only in a user namespace.
fn cover(closed: &[PathBuf]) -> Result<(), String> {
    let (user, group) = (getuid(), getgid());
    let failed = |what: &str, why: &dyn std::fmt::Display| {
        format!("{what}: {why} (this system allows no user namespaces, or not all of them?); {ROOT_REMEDY}")
    };
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID)
        .map_err(|errno| failed("namespaces for the filter", &errno))?;
    for (file, map) in [
        ("setgroups", "deny".into()),
        ("uid_map", format!("{user} {user} 1")),
        ("gid_map", format!("{group} {group} 1")),
    ] {
        let path = Path::new("/proc/self").join(file);
        fs::write(&path, map).map_err(|error| failed(&path.display().to_string(), &error))?;
    }
    // What is unmounted outside must not stay mounted here; what is mounted outside does not uncover anything.
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_SLAVE, None::<&str>)
        .map_err(|errno| failed("mounting", &errno))?;
    // A tree within another is gone with it.
    for directory in closed.iter().filter(|directory| directory.is_dir()) {
        let flags = MsFlags::MS_NODEV | MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC | MsFlags::MS_RDONLY;
        mount(Some("none"), directory, Some("tmpfs"), flags, Some("size=4k,mode=0"))
            .map_err(|errno| failed(&format!("covering {}", directory.display()), &errno))?;
    }
    Ok(())
}

/// Landlock has rights to give and none to take: everything beside the way to each tree is given.
fn restrict(given: Vec<Place>, least: ABI) -> Result<(), String> {
    let without = |error: &dyn std::fmt::Display| {
        let linux = if least == WITHOUT_USER { "6.12" } else { "5.13" };
        let remedy = match least == WITHOUT_USER {
            true => format!("; or, on an older kernel, {ROOT_REMEDY}"),
            false => String::new(),
        };
        format!(
            "the kernel cannot keep the filter away from the mail ({error}): it needs Landlock, Linux {linux} or newer \
             with `landlock` among the kernel's `lsm=`{remedy}; or remove inbound.filter"
        )
    };
    let mut ruleset = ruleset(least).map_err(|error| without(&error))?;
    for place in given {
        let access = match place.directory {
            true if is_of_the_kernel(&place) => AccessFs::from_read(NEWEST),
            true => AccessFs::from_all(NEWEST),
            false => AccessFs::from_file(NEWEST),
        };
        ruleset = ruleset
            .add_rule(PathBeneath::new(place.handle.as_fd(), access))
            .map_err(|error| without(&error))?;
    }
    let status = ruleset.restrict_self().map_err(|error| without(&error))?;
    match (status.ruleset, status.no_new_privs) {
        (RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced, true) => Ok(()),
        _ => Err(without(&"it is not enforced")),
    }
}

/// What a process of the same user may write in `/proc/PID` and in a control group is no matter of tracing: it makes the
/// server slower, stops it, or has the kernel end it before others.
fn is_of_the_kernel(place: &Place) -> bool {
    // proc and sysfs. Where that cannot be said, nothing is to be written there either.
    rustix::fs::fstatfs(&place.handle).map_or(true, |of| [0x9fa0, 0x6265_6572].contains(&of.f_type))
}

fn ruleset(least: ABI) -> Result<RulesetCreated, landlock::RulesetError> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(least))?;
    if least == WITHOUT_USER {
        ruleset = ruleset.scope(Scope::Signal)?;
    }
    ruleset
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .scope(Scope::Signal)?
        .create()
}
