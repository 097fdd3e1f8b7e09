use super::*;

fn words(line: &str) -> Vec<OsString> {
    line.split(' ').filter(|word| !word.is_empty()).map(|word| word.replace('_', " ").into()).collect()
}

fn parsed(line: &str) -> Arguments {
    parse(&words(line)).unwrap_or_else(|failure| panic!("{line}: {failure}"))
}

fn to(recipients: &[&str]) -> Arguments {
    Arguments { recipients: recipients.iter().map(|r| r.to_string()).collect(), ..Arguments::default() }
}

/// Program, command line, flags understood, `-f`, `-F`, recipients.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    Option<&'static str>,
    Option<&'static str>,
    &'static [&'static str],
);

/// What real programs pass. `_` stands for a space inside an argument.
/// Flags: i = dot is text, t = recipients in header, v = verbose.
const PROGRAMS: &[Row] = &[
    ("mutt", "-oem -oi -- a@x.org b@x.org", "i", None, None, &["a@x.org", "b@x.org"]),
    ("mutt, use_envelope_from", "-oem -oi -f me@x.org -- a@x.org", "i", Some("me@x.org"), None, &["a@x.org"]),
    (
        "mutt, 8 bit and DSN",
        "-oem -oi -f me@x.org -B8BITMIME -N failure,delay -R hdrs -- a@x.org",
        "i",
        Some("me@x.org"),
        None,
        &["a@x.org"],
    ),
    (
        "neomutt",
        "-oem -oi -f me@x.org -N never -R full -- -odd@x.org",
        "i",
        Some("me@x.org"),
        None,
        &["-odd@x.org"],
    ),
    ("s-nail", "-i -f me@x.org -- a@x.org", "i", Some("me@x.org"), None, &["a@x.org"]),
    (
        "s-nail, -r with a name",
        "-i -m -v -F Me_Myself -f me@x.org -- a@x.org",
        "iv",
        Some("me@x.org"),
        Some("Me Myself"),
        &["a@x.org"],
    ),
    ("bsd-mailx", "-i a@x.org root", "i", None, None, &["a@x.org", "root"]),
    ("bsd-mailx -r", "-i -r me@x.org a@x.org", "i", Some("me@x.org"), None, &["a@x.org"]),
    ("bsd-mailx of Debian 12", "-i -t", "it", None, None, &[]),
    ("mailutils", "-oi -f me@x.org a@x.org", "i", Some("me@x.org"), None, &["a@x.org"]),
    ("mailutils -t", "-oi -t", "it", None, None, &[]),
    ("git send-email", "-i a@x.org b@x.org", "i", None, None, &["a@x.org", "b@x.org"]),
    ("git send-email --envelope-sender", "-f me@x.org -i a@x.org", "i", Some("me@x.org"), None, &["a@x.org"]),
    ("emacs message-mode", "-oi -f me@x.org -t", "it", Some("me@x.org"), None, &[]),
    (
        "emacs message-mode, not interactive",
        "-oi -oem -odb -f me@x.org -t",
        "it",
        Some("me@x.org"),
        None,
        &[],
    ),
    ("emacs mail-mode", "-oi -f me@x.org -oem -odb -t", "it", Some("me@x.org"), None, &[]),
    ("emacs mail-mode, interactive", "-oi -f me@x.org -oep -odi -t", "it", Some("me@x.org"), None, &[]),
    ("emacs with msmtp's advice", "-oi --read-envelope-from -t", "it", None, None, &[]),
    ("cron of Debian", "-i -FCronDaemon -B8BITMIME -oem root", "i", None, Some("CronDaemon"), &["root"]),
    ("vixie cron", "-FCronDaemon -odi -oem -oi -t", "it", None, Some("CronDaemon"), &[]),
    ("cronie", "-FCronDaemon -i -odi -oem -oi -t -f root", "it", Some("root"), Some("CronDaemon"), &[]),
    ("systemd-cron", "-i -B8BITMIME -- me", "i", None, None, &["me"]),
    ("anacron", "-FAnacron -odi root", "", None, Some("Anacron"), &["root"]),
    ("at", "-i me", "i", None, None, &["me"]),
    ("PHP mail()", "-t -i", "it", None, None, &[]),
    ("PHP mail() with -f", "-t -i -fme@x.org", "it", Some("me@x.org"), None, &[]),
    ("PHP, joined in php.ini", "-ti -fme@x.org", "it", Some("me@x.org"), None, &[]),
    ("Symfony Mailer", "-bs", "", None, None, &[]),
    ("PHPMailer", "-oi -fme@x.org -t", "it", Some("me@x.org"), None, &[]),
    ("Perl Email::Sender", "-i -f me@x.org -- a@x.org", "i", Some("me@x.org"), None, &["a@x.org"]),
    ("Perl MIME::Lite", "-t -oi -oem -fme@x.org", "it", Some("me@x.org"), None, &[]),
    ("Perl Mail::Mailer", "-t -oi", "it", None, None, &[]),
    ("Python's documentation", "-t -oi", "it", None, None, &[]),
    ("Mailman", "-oi -f me@x.org a@x.org", "i", Some("me@x.org"), None, &["a@x.org"]),
    ("Ruby mail", "-i -f me@x.org -- a@x.org", "i", Some("me@x.org"), None, &["a@x.org"]),
    ("Ruby ActionMailer", "-i -t", "it", None, None, &[]),
    ("nmh by pipe", "-m -t -i", "it", None, None, &[]),
    ("nmh", "-bs -odi -oem -om -ov", "", None, None, &[]),
    ("aerc", "a@x.org b@x.org", "", None, None, &["a@x.org", "b@x.org"]),
    (
        "Go and shell scripts",
        "-bm -f <me@x.org> a@x.org,b@x.org",
        "",
        Some("me@x.org"),
        None,
        &["a@x.org,b@x.org"],
    ),
    ("logwatch", "-t", "t", None, None, &[]),
    ("smartd, exim's habits", "-oMr local -oee -ee -em -odq a@x.org", "", None, None, &["a@x.org"]),
    (
        "everything ignored",
        "-G -U -n -m -L tag -Ltag -h 3 -h3 -p ESMTP -O Delivery=b -OTimeout=1 -Ac -o i -B 7BIT a",
        "i",
        None,
        None,
        &["a"],
    ),
    ("a flag behind a recipient", "a@x.org -f me@x.org -i", "i", Some("me@x.org"), None, &["a@x.org"]),
    ("the null sender", "-f <> a@x.org", "", Some(""), None, &["a@x.org"]),
    ("msmtp's long forms", "--read-recipients --from=me@x.org", "t", Some("me@x.org"), None, &[]),
];

#[test]
fn the_command_lines_of_real_programs() {
    for (program, line, flags, sender, display, recipients) in PROGRAMS {
        let got = parsed(line);
        let mut told = String::new();
        for (set, flag) in [(got.dot_is_text, 'i'), (got.recipients_in_header, 't'), (got.verbose, 'v')] {
            told.extend(set.then_some(flag));
        }
        assert_eq!(told, *flags, "{program}: {line}");
        assert_eq!(got.sender.as_deref(), *sender, "{program}: {line}");
        assert_eq!(got.display.as_deref(), *display, "{program}: {line}");
        assert_eq!(got.recipients, *recipients, "{program}: {line}");
        let session = line.contains("-bs");
        assert_eq!(got.mode, if session { Mode::Session } else { Mode::Letter }, "{program}: {line}");
    }
}

#[test]
fn modes() {
    for (line, mode) in
        [("-bp", Mode::List), ("-bi", Mode::Nothing), ("-I", Mode::Nothing), ("-b m", Mode::Letter)]
    {
        assert_eq!(parsed(line).mode, mode, "{line}");
    }
    for line in ["-q", "-q30m", "-qIabc", "-qf"] {
        assert_eq!(parsed(line).mode, Mode::Flush, "{line}");
    }
}

#[test]
fn an_attached_empty_value_is_the_next_argument_even_when_empty() {
    let got = parse(&["-f".into(), "".into(), "a@x.org".into()]).unwrap();
    assert_eq!(got.sender.as_deref(), Some(""));
    assert_eq!(got.recipients, ["a@x.org"]);
}

#[test]
fn delivery_reports() {
    let all = Notify { success: true, failure: true, delay: true };
    assert_eq!(parsed("-N success,FAILURE,delay a").notify, Some(all));
    assert_eq!(parsed("-Nnever a").notify, Some(Notify::default()));
    assert_eq!(parsed("-R full a").ret, Some(Ret::Full));
    assert_eq!(parsed("-Rhdrs a").ret, Some(Ret::Headers));
    assert_eq!(parsed("-V id+2B7+3D a").envid.as_deref(), Some("id+7="));
    assert_eq!(parsed("a b"), to(&["a", "b"]));
}

#[test]
fn refused_with_one_line_that_names_the_flag() {
    for (line, named) in [
        ("-C /etc/shadow a", "-C"),
        ("-X/tmp/x.php a", "-X"),
        ("-D log a", "-D"),
        ("-z a", "-z"),
        ("-tz a", "-z"),
        ("--nonsense a", "--nonsense"),
        ("-bd", "-bd"),
        ("-bv a", "-bv"),
        ("-f", "-f"),
        ("--from", "--from"),
        ("-N sometimes a", "-N"),
        ("-N never,delay a", "-N"),
        ("-R half a", "-R"),
        ("-V a+ a", "-V"),
        ("-V a+0A a", "-V"),
        ("-V a+é a", "-V"),
    ] {
        let failure = parse(&words(line)).expect_err(line);
        assert_eq!(failure.exit, Exit::Usage, "{line}");
        assert!(failure.message.contains(named) && !failure.message.contains('\n'), "{line}: {failure}");
    }
    use std::os::unix::ffi::OsStringExt;
    assert_eq!(parse(&[OsString::from_vec(vec![b'a', 0xff])]).unwrap_err().exit, Exit::Usage);
}
