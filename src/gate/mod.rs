//! The server's end of the owner's ssh connection: `gate submit`, `gate export` and `gate queue`, confined by the domains and
//! addresses of the forced command, whatever else the other side asks for.

mod allowed;
mod export;
mod queue;
mod submit;

pub use allowed::Allowed;

use crate::config;
use crate::error::{Exit, Failure};

/// What may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Submit,
    Export,
    Queue,
}

impl Verb {
    fn parse(word: &str) -> Option<Verb> {
        match word {
            "submit" => Some(Verb::Submit),
            "export" => Some(Verb::Export),
            "queue" => Some(Verb::Queue),
            _ => None,
        }
    }
}

/// `pillarbox gate [submit|export|queue] [DOMAIN|ADDRESS…]`.
///
/// The verb is the first of `arguments` or, in a forced command, the last word of `original` (SSH_ORIGINAL_COMMAND),
/// of which nothing else is ever looked at. Domains and addresses confine the session; without any it is confined by
/// file permissions alone.
pub fn run(arguments: &[String], original: Option<&str>, config: &config::Server) -> Result<(), Failure> {
    let (verb, names) = choose(arguments, original)?;
    let allowed = Allowed::parse(names)?;
    match verb {
        Verb::Submit => submit::run(&allowed, config),
        Verb::Export => export::run(&allowed, config),
        Verb::Queue => queue::run(&allowed, config),
    }
}

fn choose<'a>(arguments: &'a [String], original: Option<&str>) -> Result<(Verb, &'a [String]), Failure> {
    if let Some((first, names)) = arguments.split_first()
        && let Some(verb) = Verb::parse(first)
    {
        return Ok((verb, names));
    }
    match original {
        None => Err(Failure::new(
            Exit::Usage,
            "gate: want submit, export or queue; through ssh, `pillarbox sendmail`, `pillarbox pull` and `pillarbox outbox list --server` ask for them, and this key can do no more",
        )),
        Some(asked) => match asked.split_ascii_whitespace().next_back().and_then(Verb::parse) {
            Some(verb) => Ok((verb, arguments)),
            None => Err(Failure::new(
                Exit::NoPerm,
                "this ssh key may only submit and export mail, and see what is deferred: `pillarbox sendmail`, `pillarbox pull` and `pillarbox outbox list --server` do that",
            )),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(String::from).collect()
    }

    #[test]
    fn the_verb_comes_from_its_own_arguments_first() {
        let arguments = words("submit example.org");
        assert_eq!(
            choose(&arguments, Some("pillarbox gate export")).unwrap(),
            (Verb::Submit, &arguments[1..])
        );
    }

    #[test]
    fn a_forced_command_takes_the_last_word_and_nothing_else() {
        let forced = words("example.org me@example.net");
        for asked in
            ["pillarbox gate export", "export", "gate you@example.com export", "; rm -rf / ;\texport\n"]
        {
            assert_eq!(choose(&forced, Some(asked)).unwrap(), (Verb::Export, &forced[..]), "{asked}");
        }
    }

    #[test]
    fn anything_else_is_not_allowed() {
        let forced = words("example.org");
        let asked = [
            "",
            "sh",
            "pillarbox gate export you@example.com",
            "export;",
            "export`id`",
            "Export",
            "rsync --server",
        ];
        for asked in asked {
            assert_eq!(choose(&forced, Some(asked)).unwrap_err().exit, Exit::NoPerm, "{asked}");
        }
        assert_eq!(choose(&forced, None).unwrap_err().exit, Exit::Usage);
        assert_eq!(choose(&[], None).unwrap_err().exit, Exit::Usage);
    }
}
