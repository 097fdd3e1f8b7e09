use super::*;
use crate::policy::spf::SpfEvidence;
use crate::trust::spf::tests::{Table, ask};
use crate::trust::spf::{LINE_MAX, QUESTIONS_MAX};
use proptest::prelude::*;

const CLIENT: &str = "192.0.2.1";

async fn from(rows: &[[&str; 3]]) -> SpfEvidence {
    ask(&Table::new(rows), CLIENT, "me@example.org").await
}

async fn result(rows: &[[&str; 3]]) -> SpfResult {
    from(rows).await.result
}

fn row(record: &str) -> [&str; 3] {
    ["example.org", "TXT", record]
}

#[tokio::test]
async fn the_reason_names_the_mechanism_and_the_record() {
    let below = ["_spf.example.net", "TXT", "v=spf1 ip4:192.0.2.0/24 -all"];
    let evil = ["_spf.example.net", "TXT", "v=spf1 -all"];
    for (rows, why) in [
        (
            vec![row("v=spf1 include:_spf.example.net -all"), below],
            "ip4:192.0.2.0/24 in the record of _spf.example.net, included by example.org, says pass",
        ),
        (
            vec![row("v=spf1 include:_spf.example.net -all"), evil],
            "-all in the record of example.org, where nothing else matched, says fail",
        ),
        (
            vec![row("v=spf1 ~include:_spf.example.net -all"), below],
            "~include:_spf.example.net in the record of example.org (ip4:192.0.2.0/24 in the record of _spf.example.net says pass) says softfail",
        ),
        (
            vec![row("v=spf1 redirect=_spf.example.net"), evil],
            "-all in the record of _spf.example.net, to which example.org redirects, says fail",
        ),
        (vec![row("v=spf1 a:x.org")], "the record of example.org, where nothing matched, says neutral"),
        (vec![row("v=spf1 ?all")], "?all in the record of example.org says neutral"),
        (vec![row("v=spf2.0/pra -all")], "example.org has no SPF record"),
        (vec![row("v=spf1"), row("v=spf1 -all")], "example.org has 2 SPF records"),
        (
            vec![row("v=spf1 include:_spf.example.net -all")],
            "_spf.example.net has no SPF record, but example.org includes it",
        ),
        (
            vec![row("v=spf1 redirect=_spf.example.net")],
            "_spf.example.net has no SPF record, to which example.org redirects",
        ),
        (
            vec![row("v=spf1 a:192.0.2.1 -all")],
            "in the SPF record of example.org, \"a:192.0.2.1\": it names an IP address, which belongs behind ip4: or ip6:",
        ),
        (vec![row("?")], "the SPF record of example.org cannot be looked up now (DNS: no answer)"),
    ] {
        assert_eq!(from(&rows).await.why, why);
    }
}

#[tokio::test]
async fn the_steps_tell_what_was_tried() {
    let rows = [
        row("v=spf1 mx include:_spf.%{d} -all"),
        ["_spf.example.org", "TXT", "v=spf1 a:x.org ip4:192.0.2.1 -all"],
    ];
    assert_eq!(
        from(&rows).await.steps,
        [
            "example.org: v=spf1 mx include:_spf.%{d} -all",
            "example.org: mx finds nothing in DNS",
            "example.org: mx does not match",
            "_spf.example.org: v=spf1 a:x.org ip4:192.0.2.1 -all",
            "_spf.example.org: a:x.org finds nothing in DNS",
            "_spf.example.org: a:x.org does not match",
            "_spf.example.org: ip4:192.0.2.1 matches",
            "example.org: include:_spf.%{d} matches: pass",
        ]
    );
}

#[tokio::test]
async fn faults_of_dns_are_temporary_and_those_of_ptr_are_none() {
    for (record, faulty) in [
        ("v=spf1 a -all", ["example.org", "A", "?"]),
        ("v=spf1 mx -all", ["example.org", "MX", "?"]),
        ("v=spf1 exists:x.org -all", ["x.org", "A", "?"]),
        ("v=spf1 include:x.org -all", ["x.org", "TXT", "?"]),
        ("v=spf1 redirect=x.org", ["x.org", "TXT", "?"]),
    ] {
        assert_eq!(result(&[row(record), faulty]).await, SpfResult::TempError, "{record}");
    }
    let mx = [row("v=spf1 mx -all"), ["example.org", "MX", "x.org"], ["x.org", "A", "?"]];
    assert_eq!(result(&mx).await, SpfResult::TempError);
    assert_eq!(result(&[row("v=spf1 ptr -all"), [CLIENT, "PTR", "?"]]).await, SpfResult::Fail);
    let names = [[CLIENT, "PTR", "a.example.org"], [CLIENT, "PTR", "b.example.org"]];
    let hosts = [["a.example.org", "A", "?"], ["b.example.org", "A", CLIENT]];
    let rows = [&[row("v=spf1 ptr -all")][..], &names, &hosts].concat();
    assert_eq!(result(&rows).await, SpfResult::Pass);
}

#[tokio::test]
async fn errors_below_are_errors_above() {
    let two = [["x.org", "TXT", "v=spf1 +all"], ["x.org", "TXT", "v=spf1 -all"]];
    let wrong = [["x.org", "TXT", "v=spf1 moo +all"]];
    for record in ["v=spf1 include:x.org +all", "v=spf1 ?include:x.org +all", "v=spf1 redirect=x.org"] {
        for below in [&two[..], &wrong, &[]] {
            let rows = [&[row(record)], below].concat();
            assert_eq!(result(&rows).await, SpfResult::PermError, "{record} {below:?}");
        }
    }
    // An all anywhere makes a redirect void.
    assert_eq!(result(&[row("v=spf1 redirect=x.org ~all")]).await, SpfResult::SoftFail);
    let yes = ["x.org", "TXT", "V=SPF1 +ALL"];
    assert_eq!(result(&[row("v=spf1 REDIRECT=x.org"), yes]).await, SpfResult::Pass);
}

#[tokio::test]
async fn the_names_of_includes_are_their_own_and_the_sender_stays() {
    let rows = [
        row("v=spf1 include:_spf.example.net. -all"),
        ["_spf.example.net", "TXT", "v=spf1 exists:%{d}.%{o}.x.org -all"],
        ["_spf.example.net.example.org.x.org", "A", "127.0.0.2"],
    ];
    assert_eq!(result(&rows).await, SpfResult::Pass);
}

#[tokio::test]
async fn ten_terms_may_ask_and_two_may_find_nothing() {
    let found = ["x.org", "A", "198.51.100.1"];
    for (terms, wanted) in [(10, SpfResult::Fail), (11, SpfResult::PermError)] {
        let record = format!("v=spf1{} -all", " a:x.org".repeat(terms));
        assert_eq!(result(&[row(&record), found]).await, wanted, "{terms} terms");
    }
    let record = format!("v=spf1{} redirect=y.org", " a:x.org".repeat(10));
    let redirected = [row(&record), found, ["y.org", "TXT", "v=spf1 -all"]];
    assert_eq!(result(&redirected).await, SpfResult::PermError);
    for term in ["a", "mx", "exists:nothing.org", "ptr"] {
        for (others, wanted) in [(1, SpfResult::Fail), (2, SpfResult::PermError)] {
            let record = format!("v=spf1{} {term} -all", " a:nothing.org".repeat(others));
            assert_eq!(result(&[row(&record)]).await, wanted, "{term} and {others} others");
        }
    }
    // What the client's names are is asked once; hosts of an mx are no terms.
    assert_eq!(result(&[row("v=spf1 ptr ptr ptr:x.org ptr -all")]).await, SpfResult::Fail);
    let mx = ["a.org", "b.org", "c.org"].map(|host| ["example.org", "MX", host]);
    assert_eq!(result(&[&[row("v=spf1 mx -all")][..], &mx].concat()).await, SpfResult::Fail);
    // Neither the limit of terms nor that of void ones is met by ip4, ip6 and all, or by the explanation.
    let many =
        format!("v=spf1 a:nothing.org a:nothing.org{} -all exp=nothing.org", " ip4:192.0.2.2".repeat(30));
    assert_eq!(result(&[row(&many)]).await, SpfResult::Fail);
}

#[tokio::test]
async fn ten_hosts_of_an_mx_are_looked_at_and_ten_names_of_the_client() {
    let hosts: Vec<String> = (0..12).map(|n| format!("h{n}.example.org")).collect();
    for (hit, mx, ptr) in [(9, SpfResult::Pass, SpfResult::Pass), (10, SpfResult::PermError, SpfResult::Fail)]
    {
        let mut rows = Vec::new();
        for (n, host) in hosts.iter().enumerate() {
            rows.push(["example.org", "MX", host]);
            rows.push([CLIENT, "PTR", host]);
            rows.push([host, "A", if n == hit { CLIENT } else { "198.51.100.1" }]);
        }
        for (record, wanted) in [("v=spf1 mx -all", mx), ("v=spf1 ptr -all", ptr)] {
            let rows = [&rows[..], &[row(record)]].concat();
            assert_eq!(result(&rows).await, wanted, "{record} with host {hit}");
        }
    }
    let null = [row("v=spf1 mx ~all"), ["example.org", "MX", ""]];
    assert_eq!(result(&null).await, SpfResult::SoftFail);
}

#[tokio::test]
async fn a_hostile_zone_makes_us_ask_no_more_than_derived() {
    let hosts: Vec<String> = (0..12).map(|n| format!("h{n}.x.org")).collect();
    let record = format!("v=spf1{} -all exp=%{{p}}.example.org", " mx".repeat(10));
    let mut rows = vec![row(&record)];
    rows.extend(hosts[..10].iter().map(|host| ["example.org", "MX", host.as_str()]));
    rows.extend(hosts.iter().map(|host| [CLIENT, "PTR", host.as_str()]));
    rows.push(["unknown.example.org", "TXT", "%{p} is not ours"]);
    let table = Table::new(&rows);
    let evidence = ask(&table, CLIENT, "me@example.org").await;
    assert_eq!(evidence.explanation.as_deref(), Some("unknown is not ours"));
    assert_eq!(table.asked().len(), QUESTIONS_MAX);
    // Loops end by the same limit.
    let loops = [row("v=spf1 include:example.org -all"), ["x.org", "TXT", "v=spf1 redirect=x.org"]];
    let table = Table::new(&loops);
    assert_eq!(ask(&table, CLIENT, "me@example.org").await.result, SpfResult::PermError);
    assert_eq!(ask(&table, CLIENT, "me@x.org").await.result, SpfResult::PermError);
    assert_eq!(table.asked().len(), 22);
}

#[tokio::test]
async fn p_is_the_best_of_the_names_that_lead_back() {
    let names = ["other.net", "sub.example.org", "example.org", "liar.example.org"];
    let zone = |valid: &[&'static str]| {
        let mut rows = vec![row("v=spf1 exists:%{p}.x.org -all")];
        rows.extend(names.map(|name| [CLIENT, "PTR", name]));
        rows.extend(valid.iter().map(|name| [*name, "A", CLIENT]));
        Table::new(&rows)
    };
    for (valid, wanted) in [
        (&["other.net", "sub.example.org", "example.org"][..], "example.org"),
        (&["other.net", "sub.example.org"], "sub.example.org"),
        (&["other.net"], "other.net"),
        (&[], "unknown"),
    ] {
        let table = zone(valid);
        ask(&table, CLIENT, "me@example.org").await;
        assert_eq!(table.asked().last().unwrap(), &format!("A {wanted}.x.org"));
    }
    // It costs nothing where it is not used, and its question counts as a term where it is.
    let x = ["x.org", "A", "198.51.100.1"];
    for (terms, wanted) in [(8, SpfResult::Fail), (9, SpfResult::Fail), (10, SpfResult::PermError)] {
        let record = format!("v=spf1{} exists:%{{p}}.x.org -all", " a:x.org".repeat(terms - 1));
        assert_eq!(result(&[row(&record), x]).await, wanted, "{terms} terms and a name");
    }
    let table = Table::new(&[row("v=spf1 a -all")]);
    ask(&table, CLIENT, "me@example.org").await;
    assert_eq!(table.asked(), ["TXT example.org", "A example.org"]);
}

#[tokio::test]
async fn only_the_clients_family_is_asked_for_but_exists_asks_for_a() {
    let table = Table::new(&[row("v=spf1 a mx exists:x.org -all"), ["example.org", "MX", "m.org"]]);
    ask(&table, "2001:db8::1", "me@example.org").await;
    let asked = ["TXT example.org", "AAAA example.org", "MX example.org", "AAAA m.org", "A x.org"];
    assert_eq!(table.asked(), asked);
}

#[tokio::test]
async fn names_with_odd_octets_are_asked_for_as_they_are() {
    let table = Table::new(&[row("v=spf1 a:%{l}%_.a\\b.x.org a:x..org a:%{l}%{l}.y.org -all")]);
    let sender = format!("{}@example.org", "q".repeat(40));
    assert_eq!(ask(&table, CLIENT, &sender).await.result, SpfResult::Fail);
    let asked = ["TXT example.org".to_owned(), format!("A {}\\032.a\\\\b.x.org", "q".repeat(40))];
    assert_eq!(table.asked(), asked);
    // RFC 8616 section 4: a local part beyond ASCII matches nothing.
    let record = "v=spf1 include:%{l}.x.org exists:%{s}.x.org a:%{L}.org redirect=%{l}.x.org";
    let table = Table::new(&[row(record)]);
    assert_eq!(ask(&table, CLIENT, "m\u{e4}x@example.org").await.result, SpfResult::Neutral);
    assert_eq!(table.asked().len(), 1);
}

#[tokio::test]
async fn the_explanation_is_the_domains_word_and_bounded() {
    let says = async |text: &str| {
        let rows = [row("v=spf1 -all exp=why.%{d}"), ["why.example.org", "TXT", text]];
        from(&rows).await.explanation
    };
    let words = says("%{i} is not %{d}'s, says %{R}").await;
    assert_eq!(words.unwrap(), "192.0.2.1 is not example.org's, says mx.here.example");
    for nothing in ["", "  ", "50%", "a\tb", "caf\u{e9}", "two\nlines", "?"] {
        assert_eq!(says(nothing).await, None, "{nothing:?}");
    }
    assert_eq!(says(&"%{s} ".repeat(10_000)).await.unwrap().len(), 500);
    for (record, wanted) in [
        ("v=spf1 ~all exp=why.org", None),
        ("v=spf1 +all exp=why.org", None),
        ("v=spf1 -all EXP=why.org", Some("no")),
    ] {
        let evidence = from(&[row(record), ["why.org", "TXT", "no"]]).await;
        assert_eq!(evidence.explanation.as_deref(), wanted, "{record}");
    }
}

#[tokio::test]
async fn the_account_is_bounded() {
    let record = format!("v=spf1{} -all", " ip4:198.51.100.1".repeat(3000));
    let evidence = from(&[row(&record)]).await;
    assert_eq!(evidence.result, SpfResult::Fail);
    assert_eq!(evidence.steps.len(), STEPS_MAX + 1);
    assert!(evidence.steps.iter().all(|line| line.len() <= LINE_MAX && line.is_ascii()));
    assert!(evidence.steps[0].ends_with("..."));
}

proptest! {
    #[test]
    fn any_zone_ends(
        records in prop::collection::vec("v=spf1( [-?~]?(a|mx|ptr|(include|a|exists):([a-d]|%[{][dopslh][1-3]?r?[}]).org|all|(redirect|exp)=[a-d].org)){0,7}", 4),
        txt in "[ -~]{0,30}",
    ) {
        let mut rows = vec![row("v=spf1 include:a.org include:b.org mx redirect=c.org"), [CLIENT, "PTR", "a.org"]];
        let names = ["a.org", "b.org", "c.org", "d.org"];
        for (name, record) in names.iter().zip(&records) {
            rows.push([name, "TXT", record]);
            rows.push([name, "MX", "a.org"]);
        }
        rows.push(["d.org", "TXT", &txt]);
        let table = Table::new(&rows);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let evidence = runtime.block_on(ask(&table, CLIENT, "me@example.org"));
        prop_assert!(table.asked().len() <= QUESTIONS_MAX);
        prop_assert!(!evidence.why.is_empty() && evidence.why.len() <= 600 && evidence.why.is_ascii());
    }
}
