//! What a sender can do about a failure, in a sentence or two.

use super::Diagnosis;

/// What can be done: by the words of well-known servers first, which often say more than their codes, else by the code.
pub(super) fn of(diagnosis: &Diagnosis) -> &'static str {
    remedy(&diagnosis.words).unwrap_or_else(|| by_status(diagnosis.status))
}

/// What is known of a reply by its words.
pub fn remedy(words: &str) -> Option<&'static str> {
    let words = words.to_lowercase();
    let fits = |rule: &&Rule| rule.any.iter().any(|all| all.iter().all(|needle| words.contains(needle)));
    KNOWN.iter().find(fits).map(|rule| rule.remedy)
}

/// A well-known reply: every needle of one of the lists stands in it (in lower case).
struct Rule {
    any: &'static [&'static [&'static str]],
    remedy: &'static str,
}

/// The narrow ones first. What the big receivers document of themselves, and what the small ones' software says.
const KNOWN: &[Rule] = &[
    Rule {
        any: &[
            &["5.7.25"],
            &["4.7.23"],
            &["ptr record"],
            &["reverse dns"],
            &["reverse hostname"],
            &["cannot find your hostname"],
            &["cannot find your reverse"],
            &["no rdns"],
        ],
        remedy: "Give this server's address a PTR record (at whoever you rent the server from) that names the \
            server, and let that name have the address. If the server also sends over IPv6, do the same there or \
            set relay.source to its IPv4 address.",
    },
    Rule {
        any: &[
            &["5.7.26"],
            &["4.7.26"],
            &["5.7.27"],
            &["4.7.27"],
            &["5.7.30"],
            &["4.7.30"],
            &["5.7.515"],
            &["required authentication level"],
            &["unauthenticated", "spf"],
            &["unauthenticated", "dmarc"],
        ],
        remedy: "The other side did not find your letter authenticated. Your domain needs a TXT record with SPF \
            that names this server's addresses, the DKIM records that 'pillarbox key show' prints, and a DMARC \
            record (_dmarc). If they are all there, wait until DNS caches have them and send the letter again.",
    },
    Rule {
        any: &[
            &["5.7.40"],
            &["4.7.40"],
            &["dmarc policy"],
            &["dmarc", "reject"],
            &["dmarc", "fail"],
            &["5.7.509"],
        ],
        remedy: "Your domain's DMARC policy asks to refuse letters that do not prove to be yours, and this one did \
            not: look whether the DKIM record of your selector is published as 'pillarbox key show' prints it, and \
            whether SPF names this server's addresses.",
    },
    Rule {
        any: &[
            &["5.7.24"],
            &["4.7.24"],
            &["5.7.23"],
            &["spf", "fail"],
            &["spf", "not permitted"],
            &["spf", "not authorized"],
            &["openspf"],
        ],
        remedy: "The domain's SPF record does not cover the address that this server sends from. Name its IPv4 and \
            IPv6 addresses there (or use \"mx\"), or set relay.source to the address that is named.",
    },
    Rule {
        any: &[
            &["5.7.29"],
            &["4.7.29"],
            &["5.7.10"],
            &["must issue a starttls"],
            &["starttls", "required"],
            &["tls required"],
            &["encryption required"],
        ],
        remedy: "The other side takes letters over TLS only, and this connection had none. Remove tls = \"off\" for \
            the domain from the configuration, if it is there; else look at the log for why TLS failed.",
    },
    Rule {
        any: &[
            &["s3150"],
            &["s3140"],
            &["sc-001"],
            &["sc-002"],
            &["sc-003"],
            &["sc-004"],
            &["part of their network is on our block list"],
        ],
        remedy: "Outlook.com does not trust this server's network, which is common for a new or rented address. \
            Check PTR, SPF and DKIM, then ask for mitigation with the form at \
            https://olcsupport.office.com and answer the automatic refusal once; it usually takes a day or two.",
    },
    Rule {
        any: &[
            &["banned sending ip"],
            &["delist.messaging.microsoft.com"],
            &["sender.office.com"],
            &["5.7.511"],
            &["5.7.606"],
        ],
        remedy: "Microsoft 365 has this server's address on its list. Enter the address at \
            https://sender.office.com (or write to delist@microsoft.com for 5.7.511), and send the letter again \
            a day later.",
    },
    Rule {
        any: &[&["as(3150)"], &["as(3140)"], &["5.7.708"], &["5.7.750"]],
        remedy: "Microsoft 365 refuses this address or domain for its reputation. Check PTR, SPF and DKIM, and ask \
            for help at https://sender.office.com.",
    },
    Rule {
        any: &[
            &["gsmtp", "5.7.28"],
            &["gsmtp", "4.7.28"],
            &["unusual rate of unsolicited"],
            &["gsmtp", "4.7.0", "try again later"],
        ],
        remedy: "Gmail limits how much it takes from this server. Send less for some days, and look at \
            https://postmaster.google.com what it says about your domain.",
    },
    Rule {
        any: &[&["gsmtp", "5.7.1", "likely"], &["gsmtp", "unsolicited"], &["gsmtp", "low reputation"]],
        remedy: "Gmail takes the letter, the domain or this server's address for a source of spam. Check PTR, SPF, \
            DKIM and DMARC, leave out links and attachments that may look odd, and see what \
            https://postmaster.google.com says about your domain.",
    },
    Rule {
        any: &[
            &["[tss0"],
            &["(tss0"],
            &["4.7.0 [ts"],
            &["deferred", "yahoo"],
            &["postmaster.yahooinc.com"],
            &["senders.yahooinc.com"],
        ],
        remedy: "Yahoo puts letters off or refuses them by this server's reputation. Check PTR, SPF and DKIM; if \
            it lasts, use the form at https://senders.yahooinc.com.",
    },
    Rule {
        any: &[&["tosa@rx.t-online.de"]],
        remedy: "t-online.de takes letters only from servers that it knows. Write to tosa@rx.t-online.de, name this \
            server's address and a web page with your postal address on it; they usually answer within a day.",
    },
    Rule {
        any: &[
            &["postmaster.gmx.net"],
            &["postmaster.web.de"],
            &["postmaster.1und1"],
            &["postmaster.mail.com"],
        ],
        remedy: "GMX, web.de and 1&1 refuse by rules that the page in their words explains (open it, its address \
            names the reason). Most often the PTR record is missing or generic.",
    },
    Rule {
        any: &[&["[cs01]"], &["[hm07]"], &["[hm08]"], &["icloud postmaster"], &["support.apple.com"]],
        remedy: "iCloud refuses the letter by its local policy. Check PTR, SPF, DKIM and DMARC, then write to \
            icloudadmin@apple.com with the words above.",
    },
    Rule {
        any: &[&["spamhaus"]],
        remedy: "This server's address or domain is on a Spamhaus list. Look it up at https://check.spamhaus.org: \
            the page says why, and how it is removed. A PBL entry only needs a click by whoever runs a real server.",
    },
    Rule {
        any: &[
            &["barracudacentral"],
            &["bl.spamcop.net"],
            &["sorbs"],
            &["uceprotect"],
            &["abusix"],
            &["mailspike"],
            &["invaluement"],
            &["dnsbl"],
            &[" rbl"],
            &["blacklist"],
            &["blocklist"],
            &["block list"],
            &["blocked using"],
        ],
        remedy: "This server's address is on a list that the other side uses; its words name the list. Look the \
            address up there, mend the cause it names, and ask for removal; a whole network's listing is for your \
            provider to solve, or a reason to change him.",
    },
    Rule {
        any: &[&["greylist"], &["graylist"], &["grey listed"], &["greylisted"]],
        remedy: "The other side puts every unknown server off once. The next attempts are made by themselves.",
    },
    Rule {
        any: &[
            &["relay access denied"],
            &["relaying denied"],
            &["relay not permitted"],
            &["unable to relay"],
            &["not permitted to relay"],
        ],
        remedy: "The server that the recipient's domain names for its mail does not know that domain. That is for \
            the recipient's administrator to mend: tell him in some other way.",
    },
    Rule {
        any: &[&["helo", "reject"], &["helo", "invalid"], &["helo command rejected"], &["ehlo", "rejected"]],
        remedy: "The other side does not like the name that this server calls itself. Set hostname to a full name \
            that exists in DNS and points to this server.",
    },
    Rule {
        any: &[
            &["over quota"],
            &["overquota"],
            &["quota exceeded"],
            &["mailbox full"],
            &["mailbox is full"],
            &["insufficient storage", "mailbox"],
            &["out of storage space"],
        ],
        remedy: "The recipient's mailbox is full. Try again in some days, or tell him in some other way.",
    },
    Rule {
        any: &[
            &["user unknown"],
            &["unknown user"],
            &["no such user"],
            &["user doesn't exist"],
            &["does not exist"],
            &["nosuchuser"],
            &["recipient unknown"],
            &["unknown recipient"],
            &["invalid recipient"],
            &["recipient not found"],
            &["mailbox unavailable"],
            &["no mailbox here"],
            &["unrouteable address"],
        ],
        remedy: "Check the address for a typing mistake, or ask the recipient in some other way.",
    },
];

/// By the RFC 3463 status.
fn by_status(status: (u8, u16, u16)) -> &'static str {
    match status {
        (_, 1, 2) => {
            "Check the part behind the @ for a typing mistake: there is no such domain, or it takes no mail."
        }
        (_, 1, 10) => "The domain says that it takes no mail at all. Ask the recipient for another address.",
        (_, 1, 7 | 8) => {
            "The other side does not take your address as a sender. Look whether your domain has MX and A records, \
             and whether the address exists."
        }
        (_, 1, _) => "Check the address for a typing mistake, or ask the recipient in some other way.",
        (_, 2, 2) => {
            "The recipient's mailbox is full. Try again in some days, or tell him in some other way."
        }
        (_, 3, 4) | (_, 2, 3) => {
            "The letter is too large for the other side. Send it in parts, or send a link."
        }
        (_, 2, _) => "The mailbox exists but takes no mail now. Ask the recipient in some other way.",
        (_, 4, 6) => {
            "The domain's mail is directed back to this server, where the address does not exist. Its MX \
             records, or the directories here, are to be corrected."
        }
        (_, 4, 7) => {
            "The other side could not be reached, or put us off, for the whole time. Ask the recipient in some \
             other way, or send the letter again later."
        }
        (_, 6, 3) => "The other side cannot take 8-bit text. Send the letter as quoted-printable or base64.",
        (_, 6, 7) => {
            "The other side cannot take addresses with letters beyond ASCII. Ask for an address without them."
        }
        (_, 7, _) => {
            "The other side refuses the letter by its rules. If its words name a reason (a list, SPF, DKIM, \
             PTR), this server's administrator can act on it."
        }
        _ => {
            "Read the words above: they are all that is known. Send the letter again when the cause is gone."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_known_replies_find_their_remedy() {
        for (words, wanted) in [
            (
                "550-5.7.25 [192.0.2.1] The IP address sending this message does not have a PTR record setup\n\
                 550 5.7.25 x - gsmtp",
                "relay.source",
            ),
            (
                "550-5.7.26 Your email has been blocked because the sender is unauthenticated. - gsmtp",
                "'pillarbox key show'",
            ),
            (
                "550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. Please contact your Internet \
                 service provider since part of their network is on our block list (S3150).",
                "olcsupport.office.com",
            ),
            ("550 5.7.606 Access denied, banned sending IP [192.0.2.1].", "sender.office.com"),
            (
                "550 5.7.515 Access denied, sending domain OUR.TEST does not meet the required authentication \
              level.",
                "SPF",
            ),
            ("421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred", "Yahoo"),
            (
                "554 IP=192.0.2.1 - A problem occurred. Ask your postmaster for help or to contact \
                 tosa@rx.t-online.de to clarify.",
                "postal address",
            ),
            ("554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org", "PBL"),
            ("554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using bl.other.test", "list"),
            ("450 4.2.0 <x@y.test>: Recipient address rejected: Greylisted", "by themselves"),
            ("554 5.7.1 <x@y.test>: Relay access denied", "administrator"),
            ("450 4.7.1 Client host rejected: cannot find your reverse hostname", "PTR"),
            ("530 5.7.0 Must issue a STARTTLS command first", "over TLS only"),
            ("452-4.2.2 The recipient's inbox is out of storage space", "mailbox is full"),
            (
                "550 5.1.1 <x@y.test>: Recipient address rejected: User unknown in local recipient table",
                "typing",
            ),
        ] {
            let found = remedy(words).unwrap_or("none");
            assert!(found.contains(wanted), "{words}: {found}");
        }
        assert_eq!(remedy("550 5.7.1 computer says no"), None);
    }

    #[test]
    fn words_that_say_nothing_leave_it_to_the_code() {
        let of_status = |status| of(&Diagnosis { status, words: "550 no".into(), host: None });
        assert!(of_status((5, 1, 10)).contains("no mail at all"));
        assert!(of_status((5, 6, 3)).contains("quoted-printable"));
        assert!(of_status((5, 0, 0)).contains("Read the words"));
    }
}
