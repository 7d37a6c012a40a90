//! Lines as terminals show them, and lines that mean harm.

use proptest::prelude::*;

use super::*;

/// The parts as `class:text`, plain ones as their text.
fn shown(line: &str) -> String {
    let one = |span: &Span| match (span.class.as_str(), &span.link) {
        ("", None) => span.text.clone(),
        (class, None) => format!("[{class}:{}]", span.text),
        (class, Some(link)) => format!("[{class}:{}>{link}]", span.text),
    };
    spans(line).iter().map(one).collect()
}

fn said(line: &str) -> String {
    spans(line).into_iter().map(|span| span.text).collect()
}

#[test]
fn colours_and_emphasis_become_classes() {
    for (line, expected) in [
        ("plain, ünï → ✓", "plain, ünï → ✓"),
        ("", ""),
        ("\x1b[31mred\x1b[0m after", "[f1:red] after"),
        (
            "\x1b[1;4;92;44mall\x1b[22;24;39;49m none",
            "[f10 g4 bold underline:all] none",
        ),
        (
            "\x1b[2mdim\x1b[m \x1b[3mslanted\x1b[23m\x1b[9mgone",
            "[dim:dim] [italic:slanted][strike:gone]",
        ),
        (
            "\x1b[7mswapped\x1b[31;42mboth\x1b[27mback",
            "[fi gi:swapped][f2 g1:both][f1 g2:back]",
        ),
        (
            "\x1b[38;5;196mbright red\x1b[38;5;244mgrey\x1b[38;5;3mown",
            "[f9:bright red][f8:grey][f3:own]",
        ),
        ("\x1b[38;2;0;0;0m\x1b[48;2;250;250;250mtrue", "[f0 g15:true]"),
        (
            "\x1b[38:2::255:0:255mcolons\x1b[48:5:46mtoo",
            "[f13:colons][f13 g10:too]",
        ),
        ("\x1b[38;5mcut short\x1b[38m.\x1b[38;9;1mx", "cut short.[bold:x]"),
        ("\x1b[8mhidden\x1b[5mblinking", "hiddenblinking"),
        ("\x1b[31mred, not reset", "[f1:red, not reset]"),
        ("the next line is plain", "the next line is plain"),
    ] {
        assert_eq!(shown(line), expected, "{line:?}");
    }
}

#[test]
fn a_progress_bar_is_shown_as_it_was_last() {
    for (line, expected) in [
        ("10%\r50%\r100%", "100%"),
        ("100 of 100\rdone", "doneof 100"),
        ("downloading\r\x1b[Kready", "ready"),
        ("downloading\r\x1b[2Kready", "ready"),
        ("downloading\x1b[2K\rready", "ready"),
        ("downloading\x1b[1K\x1b[1Gready", "ready"),
        ("downloading\x1b[2K ready", "downloading ready"),
        ("windows line\r", "windows line"),
        ("|\x08/\x08-\x08\\ work", "\\ work"),
        ("\x08\x08x", "x"),
        ("abc\x1b[2Dx\x1b[10G!", "axc      !"),
        ("ab\x1b[3C", "ab"),
        ("\x1b[31m##\x1b[0m--\r\x1b[32m###", "###-"),
    ] {
        assert_eq!(said(line), expected, "{line:?}");
    }
}

#[test]
fn what_is_no_text_is_gone_or_visible() {
    for (line, expected) in [
        ("\x1b]0;a title\x07text", "text"),
        ("\x1b[2J\x1b[H\x1b[?25ltext\x1b[?25h", "text"),
        ("\x1bPq#0;2;0;0;0\x1b\\text", "text"),
        ("nul\0 esc\x1b", "nul\u{2400} esc"),
        ("a\tb\x07c\x0bd\x7f", "a\tbc\u{240b}d\u{2421}"),
        ("\u{9b}31mold controls", "\u{fffd}31mold controls"),
    ] {
        assert_eq!(said(line), expected, "{line:?}");
    }
}

#[test]
fn only_links_to_the_web_are_links() {
    let link = |address: &str| shown(&format!("\x1b]8;id=1;{address}\x1b\\here\x1b]8;;\x07 not"));
    assert_eq!(
        link("https://example.org/a;b"),
        "[:here>https://example.org/a;b] not"
    );
    for address in [
        "javascript:alert(1)",
        "file:///etc/passwd",
        "//example.org",
        "",
        "https://example.org/ x",
        &format!("https://example.org/{}", "x".repeat(MAX_LINK)),
    ] {
        assert_eq!(link(address), "here not", "{address}");
    }
}

#[test]
fn a_hostile_line_costs_no_more_than_a_long_one() {
    let fill = |piece: &str| piece.repeat(MAX_LINE_TEXT / piece.len());
    for line in [
        fill("\x1b["),
        fill("\x1b[31mx\x1b[32my"),
        fill("\x1b[99999999999999999999;65535m"),
        fill("\x1b[65535C."),
        fill("x\x1b[65535C\x1b[1K\x1b[2K"),
        format!("{}{}", "x".repeat(30_000), fill("\x1b[1K")),
        format!("{}{}", "x".repeat(30_000), fill("\x1b[2K.\x1b[30000C")),
        format!("{}{}", "x".repeat(30_000), fill("\x1b[2K.\x1b[30000C.\r")),
        fill("\x1b]8;;https://example.org/\x07x"),
        fill(
            "\x1b[1;2;3;4;5;6;7;8;9;10;11;12;13;14;15;16;17;18;19;20;21;22;23;24;25;26;27;28;29;30;31;32;33;34m",
        ),
        fill(
            "\x1b[1:2:3:4:5:6:7:8:9:10:11:12:13:14:15:16:17:18:19:20:21:22:23:24:25:26:27:28:29:30:31:32:33:34m",
        ),
        fill("\x1bP\x1b]\x1b_"),
    ] {
        let found = spans(&line);
        assert!(found.len() <= MAX_SPANS, "{} spans", found.len());
        let size: usize = found.iter().map(|span| span.text.chars().count()).sum();
        assert!(size <= line.len() + MAX_MOVED, "{size} characters");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn text_without_escapes_is_kept(line in "[^\\x00-\\x1f\\x7f-\\u{9f}]{0,200}") {
        prop_assert_eq!(shown(&line), line);
    }

    #[test]
    fn any_line_is_shown_within_bounds(pieces in proptest::collection::vec(
        prop_oneof![
            "\\x1b\\[[0-9;:]{0,12}[A-Za-z]",
            "\\x1b\\][0-9]{0,2};[^\\x07]{0,8}\\x07",
            "[\\x00-\\x1f]{1,3}",
            "\\PC{0,6}",
            any::<String>(),
        ],
        0..40,
    )) {
        let line: String = pieces.concat();
        let found = spans(&line);
        let size: usize = found.iter().map(|span| span.text.chars().count()).sum();
        prop_assert!(found.len() <= MAX_SPANS && size <= line.len() + MAX_MOVED);
        let bad = |c: char| c.is_control() && c != '\t';
        prop_assert!(found.iter().all(|span| !span.text.is_empty() && !span.text.contains(bad)), "{:?}", found);
    }
}
