use super::*;

fn parse(line: &str) -> Result<Option<Cli>, Failure> {
    Cli::read(line.split_whitespace().map(OsString::from))
}

fn sendmail_args(line: &str) -> Vec<String> {
    match parse(line).unwrap().unwrap().command {
        Command::Sendmail { args } => args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn all_behind_sendmail_is_its_own() {
    assert_eq!(
        sendmail_args("pillarbox sendmail -oi -t -f me@a.example -- you@b.example").join(" "),
        "-oi -t -f me@a.example -- you@b.example"
    );
    assert_eq!(
        sendmail_args("pillarbox -o outbox=/tmp/x --config c.toml sendmail --config -o x").join(" "),
        "--config -o x"
    );
    assert!(sendmail_args("pillarbox sendmail").is_empty());
}

#[test]
fn options_in_front_of_sendmail_are_ours() {
    let sources =
        parse("pillarbox -o from=me@a.example --config c.toml sendmail -oi").unwrap().unwrap().sources();
    assert_eq!(sources.file, Some("c.toml".into()));
    assert_eq!(sources.overrides, ["from=me@a.example"]);
}

#[test]
fn options_may_stand_behind_other_commands() {
    let sources = parse("pillarbox -o a=1 pull me@a.example -o b=2").unwrap().unwrap().sources();
    assert_eq!(sources.overrides, ["a=1", "b=2"]);
}

#[test]
fn a_wrong_command_line_is_64_and_one_line() {
    for line in [
        "pillarbox",
        "pillarbox nonsense",
        "pillarbox address add",
        "pillarbox pull --frob",
        "pillarbox try a",
    ] {
        let failure = parse(line).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(!failure.message.contains('\n'), "{failure}");
    }
}

#[test]
fn every_command_has_a_manual_page() {
    assert!(manual(&[]).unwrap().contains("personal mail system"));
    assert!(manual(&["address".into(), "add".into()]).unwrap().contains("postmaster"));
    assert_eq!(manual(&["try-dns".into()]).unwrap_err().exit, Exit::Usage);
}
