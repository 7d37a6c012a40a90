//! Files that are missing, broken or too large, and programs that take too much.

use std::collections::BTreeMap;

use capstan_model::plan::Bundle;
use serde_json::json;

use super::super::*;
use super::{errors, errors_of, lines, plan, plugins, run};

#[test]
fn work_without_end_is_stopped_at_its_line() {
    insta::assert_snapshot!(errors("def f():\n    for i in range(10000000):\n        for j in range(10000000):\n            pass\nf()"), @"ci.star:3:9: expected at most 10000000 calls and rounds of loops, found more; does a loop run without end?");
    insta::assert_snapshot!(errors("x = [j for i in range(10000000) for j in range(10000000) if False]"), @"ci.star:1:1: expected at most 10000000 calls and rounds of loops, found more; does a loop run without end?");
    insta::assert_snapshot!(errors("for i in range(1000000000):\n    pass"), @"ci.star:1:10: expected a range of at most 10000000 numbers, found 1000000000");
    insta::assert_snapshot!(errors("def f(n):\n    return f(n + 1)\nf(0)"), @"ci.star:2:12: expected calls at most 200 deep, found more; does a function call itself without end? (ci.star:3:1: called from here)");
}

#[test]
fn memory_without_end_is_stopped_at_its_line() {
    insta::assert_snapshot!(errors("x = 'ab'\nfor i in range(60):\n    x = x + x"), @"ci.star:3:5: expected values of at most 256 MiB, found more; does a value grow without end?");
    insta::assert_snapshot!(errors("x = [0] * 1000000000"), @"ci.star:1:5: expected a result of at most 10000000 elements, found a longer one");
    insta::assert_snapshot!(errors("x = 3 * ('x' * 5000000)"), @"ci.star:1:5: expected a result of at most 10000000 elements, found a longer one");
    insta::assert_snapshot!(errors("x = [1]\nfor i in range(60):\n    x = [x, x]\nbuilder('b', properties = {'x': x})"), @"ci.star:4:14: builder: `properties`: expected a smaller configuration, found values that are too large together when written out");
    insta::assert_snapshot!(errors("x = []\nx.append(x)\nbuilder('b', properties = {'x': x})"), @"ci.star:3:14: builder: `properties`: expected at most 100 lists and dicts within each other, found more");
    insta::assert_snapshot!(errors(&format!("x = 1\ny = {}1{}", "[".repeat(5000), "]".repeat(5000))), @"ci.star:2:1: expected expressions of at most 5000 operators, brackets and words, found a longer one; give its parts names");
}

#[test]
fn expressions_are_bounded_before_anything_recurses_over_them() {
    let usual = "step.shell(command = 'x' + str(1) + [1, 2][0] * 'y')";
    plan(&format!("x = [\n{}]", format!("{usual},\n").repeat(2000)));
    let texts = |part: &str, n: usize| format!("x = {}1", part.repeat(n));
    for part in [
        "1 + ",
        "1 or ",
        "1 if 1 else ",
        "not ",
        "-",
        "lambda: ",
        "(lambda: 1)() + ",
        "f(1)(2)[3].a + ",
    ] {
        // As deep as allowed: it must end in a plan or an error, whatever its shape.
        let tokens = part.split_whitespace().count() + part.matches(['(', ')', '[', ':', '.']).count();
        let _ = run(&[("ci.star", &texts(part, 4900 / tokens))]);
        let faults = run(&[("ci.star", &texts(part, 1_000_000 / part.len()))]).unwrap_err();
        assert!(
            faults[0].to_string().contains("expected expressions of at most"),
            "{}",
            faults[0]
        );
    }
    let branches = "elif x == 2:\n    x = 1\n";
    plan(&format!(
        "x = 1\nif x == 0:\n    x = 1\n{}",
        branches.repeat(4900)
    ));
    assert!(
        run(&[(
            "ci.star",
            &format!("x = 1\nif x == 0:\n    x = 1\n{}", branches.repeat(40_000))
        )])
        .is_err()
    );
    let indented: String = (0..1000)
        .map(|n| format!("{}if True:\n", " ".repeat(n)))
        .collect();
    plan(&format!("{indented}{}pass", " ".repeat(1000)));
}

#[test]
fn files_are_loaded_once_and_their_faults_have_their_places() {
    insta::assert_snapshot!(errors_of(&[("ci.star", "load('a.star', 'x')"), ("a.star", "load('lib/b.star', 'x')"), ("lib/b.star", "load('../a.star', 'x')")]), @"lib/b.star:1:1: load: expected files without a cycle, found a.star → lib/b.star → a.star");
    insta::assert_snapshot!(errors_of(&[("ci.star", "y = 1\nload('a.star', 'x')"), ("a.star", "x = 1\nz = nothing")]), @"a.star:2:5: expected a name that is defined, found `nothing`");
    insta::assert_snapshot!(errors_of(&[("ci.star", "load('a.star', 'y')"), ("a.star", "x = 1")]), @"ci.star:1:16: module has no symbol `y`, did you mean `x`?");
    insta::assert_snapshot!(errors_of(&[("ci.star", "load('../a.star', 'y')")]), @"ci.star:1:1: load: expected a path inside the farm's folder, found `../a.star`, which leads out of it");
    insta::assert_snapshot!(errors_of(&[("ci.star", "load('a.star', 'y')")]), @"ci.star:1:1: expected `a.star` in the bundle that the build was made from, found no such file");
    insta::assert_snapshot!(errors_of(&[]), @"ci.star:1:1: expected `ci.star` in the bundle that the build was made from, found no such file");
    let twice = [
        ("ci.star", "load('a.star', 'w')\nload('b.star', v = 'w')"),
        ("a.star", "w = worker('w1')"),
        ("b.star", "load('a.star', 'w')"),
    ];
    insta::assert_snapshot!(lines(&run(&twice).unwrap().remarks), @"a.star:1:5: no builder uses the worker `w1`");
}

#[test]
fn data_files_are_read_and_their_faults_have_places() {
    let files = [
        (
            "ci.star",
            "load('lib/a.star', 'x')\nbuilder('b', properties = dict(x = x, t = read_toml('t.toml'), l = read_lines('l.txt')))",
        ),
        ("lib/a.star", "x = read_json('x.json')"),
        ("lib/x.json", "[1, 2.5, -9223372036854775808, \"é\"]"),
        ("t.toml", "when = 1979-05-27\n[a]\nb = [true]"),
        ("l.txt", "one\r\ntwo\n"),
    ];
    let plan = run(&files).unwrap().plan;
    assert_eq!(
        json!(plan.builders[0].properties),
        json!({ "x": [1, 2.5, i64::MIN, "é"], "t": { "when": "1979-05-27", "a": { "b": [true] } }, "l": ["one", "two"] })
    );
    insta::assert_snapshot!(errors_of(&[("ci.star", "read_json('x.json')"), ("x.json", "{\n  \"a\": }")]), @"ci.star:1:1: read_json: expected JSON in x.json:2:8: expected value");
    insta::assert_snapshot!(errors_of(&[("ci.star", "read_toml('x.toml')"), ("x.toml", "a = 1\nb")]), @"ci.star:1:1: read_toml: expected TOML in x.toml:2:2: key with no value, expected `=`");
    insta::assert_snapshot!(errors_of(&[("ci.star", "read_lines('../x')")]), @"ci.star:1:1: read_lines: expected a path inside the farm's folder, found `../x`, which leads out of it");
    insta::assert_snapshot!(errors_of(&[("ci.star", "read_lines(3)")]), @"ci.star:1:1: read_lines: expected a path, found the number 3");
}

#[test]
fn a_farm_without_its_file_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let faults = evaluate(
        &Farm::folder(folder.path(), "ci.star"),
        &plugins(),
        &|_, _| Ok(()),
    )
    .unwrap_err();
    insta::assert_snapshot!(lines(&faults), @"ci.star:1:1: expected a file in the farm's folder, found `ci.star`, which does not exist");
    std::fs::write(folder.path().join("ci.star"), vec![b'#'; 2 << 20]).unwrap();
    let faults = evaluate(
        &Farm::folder(folder.path(), "ci.star"),
        &plugins(),
        &|_, _| Ok(()),
    )
    .unwrap_err();
    insta::assert_snapshot!(lines(&faults), @"ci.star:1:1: expected `ci.star` to be at most 1048576 bytes long, found a longer file");
}

#[test]
fn a_file_that_is_no_text_is_refused() {
    let files = BTreeMap::from([("ci.star".to_owned(), b"x = 1\n# \xe9".to_vec())]);
    let farm = Farm::bundle(Bundle {
        entry: "ci.star".to_owned(),
        files,
        ..Bundle::default()
    });
    insta::assert_snapshot!(lines(&evaluate(&farm, &plugins(), &|_, _| Ok(())).unwrap_err()), @"ci.star:2:1: expected UTF-8 text, found another byte");
}
